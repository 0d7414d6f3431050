// The services of a .proto file for grpc-js, which the tests of foreign clients install.
import { createRequire } from 'node:module';
import path from 'node:path';

const require = createRequire(new URL('../../Interop/Grpc/node/package.json', import.meta.url));
export const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

// k6 finds import folders from the script's folder, and answers in JSON: 64-bit numbers and bytes as text, names in camelCase.
const scripts = new URL('..', import.meta.url).pathname;

export function loadServices(folders, file) {
  const definition = loader.loadSync(file, {
    includeDirs: folders.map((folder) => path.resolve(scripts, folder)),
    longs: String, enums: String, bytes: String, defaults: true,
  });
  return Object.fromEntries(Object.entries(definition).filter(([, value]) => value.format === undefined));
}

// 'broker.v1.Broker/Read'
export function clientFor(services, method, address, clients) {
  const [service, name] = method.split('/');
  if (services[service]?.[name] === undefined) {
    throw new Error(`The contract has no ${method}.`);
  }
  const key = `${service}@${address}`;
  if (!clients.has(key)) {
    clients.set(key, new (grpc.makeGenericClientConstructor(services[service]))(
      address, grpc.credentials.createInsecure()));
  }
  return { client: clients.get(key), name };
}
