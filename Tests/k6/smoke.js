// Is everything there, and does a message come through whole? One user, some seconds.
// k6 run smoke.js
import { check } from 'k6';
import {
  alwaysTrue, newRun, newValue, publishOverGrpc, publishOverHttp, publishToBroker, readFromBroker, waitForInbox,
} from './lib.js';

export const options = {
  vus: 1,
  iterations: Number(__ENV.ITERATIONS || 5),
  thresholds: {
    ...alwaysTrue,
    refusals: ['count==0'],
    http_req_duration: ['p(95)<500'],
    grpc_req_duration: ['p(95)<500'],
  },
};

export function setup() {
  return newRun('smoke');
}

export default async function (run) {
  for (const [way, publish] of [['http', publishOverHttp], ['grpc', publishOverGrpc], ['broker', publishToBroker]]) {
    const topic = `${run.prefix}.${way}`;
    const value = `${way}-${newValue()}`;
    const offset = publish(run, value, topic);
    const stored = offset === null || offset < 0 ? null : await readFromBroker(topic, offset);
    check(null, {
      [`${way}: the publish gives an offset`]: () => offset !== null && offset >= 0,
      [`${way}: the log has the value at the offset`]: () => stored === value,
      [`${way}: the inbox has the value once`]: () => offset !== null && waitForInbox(topic, value) === 1,
    });
  }
}
