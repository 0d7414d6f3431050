// What happens beyond the limit? The rate climbs until refusals come, which are right there; wrong answers are not. Then
// the load goes away, and the system must be as good as before.
// k6 run -e PEAK=5000 stress.js
import { sleep } from 'k6';
import { alwaysTrue, newRun, publishOverGrpc, publishOverHttp, publishToBroker } from './lib.js';

const peak = Number(__ENV.PEAK || 5000);
const stage = __ENV.STAGE || '30s';
const stages = 4;

function climbing(exec, share) {
  const top = Math.max(4, Math.round(peak * share));
  return {
    executor: 'ramping-arrival-rate',
    exec,
    startRate: 1,
    timeUnit: '1s',
    preAllocatedVUs: 100,
    maxVUs: 2000,
    stages: [
      { target: Math.round(top / 4), duration: stage },
      { target: Math.round(top / 2), duration: stage },
      { target: top, duration: stage },
      { target: top, duration: stage },
    ],
  };
}

export const options = {
  scenarios: {
    http: climbing('http', 0.25),
    grpc: climbing('grpc', 0.25),
    broker: climbing('broker', 0.5),
    afterwards: {
      executor: 'constant-arrival-rate',
      exec: 'afterwards',
      startTime: `${stages * seconds(stage) + 15}s`,
      rate: 20,
      timeUnit: '1s',
      duration: stage,
      preAllocatedVUs: 20,
    },
  },
  thresholds: {
    ...alwaysTrue,
    'refusals{scenario:afterwards}': ['count==0'],
    'http_req_duration{scenario:afterwards}': ['p(99)<500'],
    'grpc_req_duration{scenario:afterwards}': ['p(99)<500'],
  },
};

// "30s", "2m"
function seconds(text) {
  const [, number, unit] = /^(\d+)([sm])$/.exec(text) ?? [];
  if (number === undefined) {
    throw new Error(`STAGE is '${text}'. It must be seconds or minutes, such as 30s or 2m.`);
  }
  return Number(number) * (unit === 'm' ? 60 : 1);
}

export function setup() {
  return newRun('stress');
}

// Who is refused waits before the next attempt, as a client should.
function obey(offset) {
  if (offset === null) {
    sleep(1);
  }
}

export function http(run) {
  obey(publishOverHttp(run));
}

export function grpc(run) {
  obey(publishOverGrpc(run));
}

export function broker(run) {
  obey(publishToBroker(run));
}

export function afterwards(run) {
  publishOverHttp(run);
  publishOverGrpc(run);
  publishToBroker(run);
}
