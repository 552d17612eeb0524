// Runs bitget-api as it stands, one call per line of JSON: [method, args] in, {result} or {error} out.
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
    answer = { result: await client[method](...args) };
  } catch (error) {
    answer = { error: JSON.stringify({ status: error.code, message: error.message, body: error.body }) };
  }
  process.stdout.write(JSON.stringify(answer) + '\n');
}
