// The thread that makes the calls for which the script's thread waits.
import { workerData } from 'node:worker_threads';
import { clientFor, loadServices } from './contract.js';

const { port, answered } = workerData;
const clients = new Map();

async function callHttp({ method, url, body, headers }) {
  const response = await fetch(url, { method, body, headers });
  return { status: response.status, body: await response.text() };
}

function callGrpc({ folders, file, method, address, request, timeoutMs }) {
  const { client, name } = clientFor(loadServices(folders, file), method, address, clients);
  return new Promise((resolve) => {
    client[name](request, { deadline: Date.now() + timeoutMs }, (error, message) => resolve(error
      ? { status: error.code, error: { code: error.code, message: error.details } }
      : { status: 0, message }));
  });
}

port.on('message', async (request) => {
  let answer;
  try {
    answer = await (request.kind === 'http' ? callHttp(request) : callGrpc(request));
  } catch (error) {
    answer = request.kind === 'http' ? { status: 0, body: String(error) } : { failure: String(error) };
  }
  port.postMessage(answer);
  Atomics.store(answered, 0, 1);
  Atomics.notify(answered, 0);
});
