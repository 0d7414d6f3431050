import { clientFor, loadServices } from './contract.js';
import { callAndWait, state } from './state.js';

const clients = new Map();
const defaultTimeoutMs = 60_000;

class Client {
  load(folders, file) {
    this.contract = { folders, file };
    this.services = loadServices(folders, file);
  }

  connect(address, { plaintext }) {
    if (!plaintext) {
      throw new Error('The system has no TLS: connect with plaintext.');
    }
    this.address = address;
  }

  invoke(method, request, { timeout } = {}) {
    state.calls.grpc++;
    const timeoutMs = timeout ? Number(timeout.replace('s', '')) * 1000 : defaultTimeoutMs;
    return callAndWait({
      kind: 'grpc', ...this.contract, address: this.address, method, request: forGrpcJs(request), timeoutMs,
    });
  }
}

class Stream {
  constructor(client, method) {
    state.calls.stream++;
    this.handlers = {};
    this.open = (request) => {
      const { client: caller, name } = clientFor(client.services, method, client.address, clients);
      const call = caller[name](forGrpcJs(request));
      call.on('data', (message) => this.handlers.data?.(message));
      call.on('end', () => this.handlers.end?.());
      call.on('error', (error) => this.handlers.error?.({ code: error.code, message: error.details }));
    };
  }

  on(event, handler) {
    this.handlers[event] = handler;
  }

  write(request) {
    this.request = request;
  }

  end() {
    this.open(this.request);
  }
}

// k6 takes field names as the contract has them and in camelCase; grpc-js only the latter.
function forGrpcJs(value) {
  if (Array.isArray(value)) {
    return value.map(forGrpcJs);
  }
  return value !== null && typeof value === 'object'
    ? Object.fromEntries(Object.entries(value).map(([name, one]) => [
      name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase()), forGrpcJs(one)]))
    : value;
}

export default { Client, Stream, StatusOK: 0 };
