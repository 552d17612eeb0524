# Stands in for python:3.11-slim-bookworm: Debian's Python 3.11, with every locked wheel in place of an index.
FROM strongroom-stand-in-debian
COPY wheels /wheels
RUN ln -s python3 /usr/bin/python
ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels UV_NO_INDEX=1 UV_FIND_LINKS=/wheels UV_OFFLINE=1
