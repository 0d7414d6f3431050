// Is it as quick as it should be at an everyday rate? Fixed rates, whatever the answers take.
// k6 run -e RATE=200 -e DURATION=2m load.js
import { alwaysTrue, newRun, publishOverGrpc, publishOverHttp, publishToBroker, readInbox, topicOf } from './lib.js';

const rate = Number(__ENV.RATE || 200);
const duration = __ENV.DURATION || '2m';

function constant(exec, share) {
  return {
    executor: 'constant-arrival-rate',
    exec,
    rate: Math.max(1, Math.round(rate * share)),
    timeUnit: '1s',
    duration,
    preAllocatedVUs: 50,
    maxVUs: 500,
  };
}

export const options = {
  scenarios: {
    http_publish: constant('http_publish', 1),
    grpc_publish: constant('grpc_publish', 1),
    broker_publish: constant('broker_publish', 1),
    http_read: constant('http_read', 0.05),
  },
  thresholds: {
    ...alwaysTrue,
    refusals: ['count==0'],
    dropped_iterations: ['count==0'],
    'http_req_duration{name:publish}': ['p(50)<20', 'p(99)<250'],
    'http_req_duration{name:messages}': ['p(95)<500'],
    'grpc_req_duration{scenario:grpc_publish}': ['p(50)<20', 'p(99)<250'],
    'grpc_req_duration{scenario:broker_publish}': ['p(50)<10', 'p(99)<100'],
  },
};

export function setup() {
  return newRun('load');
}

export function http_publish(run) {
  publishOverHttp(run);
}

export function grpc_publish(run) {
  publishOverGrpc(run);
}

export function broker_publish(run) {
  publishToBroker(run);
}

export function http_read(run) {
  readInbox(topicOf(run));
}
