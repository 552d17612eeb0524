// Runs bitget-api as it stands, one call per line of JSON: [method, args] in, {result} (its data) or
// {error, text} out.
// The first line says which client, with what key and where.
import { createInterface } from 'node:readline';
import * as library from 'bitget-api';

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { client: name, url, apiKey, apiSecret, apiPass } = JSON.parse((await lines.next()).value);
const client = new library[name]({ apiKey, apiSecret, apiPass, baseUrl: url });

for (let line = await lines.next(); !line.done; line = await lines.next()) {
  const [method, args] = JSON.parse(line.value);
  let answer;
  try {
    const { code, data } = await client[method](...args);
    answer = code === '00000' ? { result: data } : { error: code, text: 'an answer of the exchange that is no success' };
  } catch ({ name, code, message, body }) {
    answer = { error: name ?? 'thrown', text: JSON.stringify({ status: code, message, body }) };
  }
  process.stdout.write(JSON.stringify(answer) + '\n');
}
