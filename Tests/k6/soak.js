// Does it stay so for hours? A modest rate for a long time; messages are read back all the while. Look at memory and disk
// in Prometheus meanwhile.
// k6 run -e DURATION=4h soak.js
import { check } from 'k6';
import exec from 'k6/execution';
import {
  alwaysTrue, newRun, newValue, publishOverGrpc, publishOverHttp, publishToBroker, readFromBroker, topicOf,
} from './lib.js';

const ways = [publishOverHttp, publishOverGrpc, publishToBroker];

export const options = {
  scenarios: {
    soak: {
      executor: 'constant-arrival-rate',
      rate: Number(__ENV.RATE || 30),
      timeUnit: '1s',
      duration: __ENV.DURATION || '1h',
      preAllocatedVUs: 20,
      maxVUs: 200,
    },
  },
  thresholds: {
    ...alwaysTrue,
    // An election or a restart in all that time is no failure; more would be.
    refusals: ['count<100'],
    dropped_iterations: ['count<100'],
    http_req_duration: ['p(99)<500'],
    grpc_req_duration: ['p(99)<500'],
  },
};

export function setup() {
  return newRun('soak');
}

export default async function (run) {
  const iteration = exec.scenario.iterationInTest;
  const topic = topicOf(run);
  const value = newValue(1024);
  const offset = ways[iteration % ways.length](run, value, topic);
  if (iteration % 10 === 0 && offset !== null && offset >= 0) {
    const stored = await readFromBroker(topic, offset);
    check(null, { 'the log has the value at the offset': () => stored === undefined || stored === value });
  }
}
