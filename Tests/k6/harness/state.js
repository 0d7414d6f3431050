// What the run has seen, and calls that wait for their answer as k6's do: another thread makes them meanwhile.
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads';

export const state = {
  scenario: { name: 'setup', iterationInTest: 0 },
  checks: new Map(),
  counters: new Map(),
  calls: { http: 0, grpc: 0, stream: 0 },
};

const answered = new Int32Array(new SharedArrayBuffer(4));
const { port1: port, port2 } = new MessageChannel();
const worker = new Worker(new URL('./caller.js', import.meta.url), {
  workerData: { port: port2, answered }, transferList: [port2],
});
worker.unref();
port.unref();

const patienceMs = 60_000;

export function callAndWait(request) {
  Atomics.store(answered, 0, 0);
  port.postMessage(request);
  if (Atomics.wait(answered, 0, 0, patienceMs) === 'timed-out') {
    throw new Error(`No answer within ${patienceMs} ms: ${JSON.stringify(request)}`);
  }
  const { message } = receiveMessageOnPort(port);
  if (message.failure) {
    throw new Error(message.failure);
  }
  return message;
}

export function finish() {
  worker.terminate();
}
