// What the scripts share: where the system is, one function for each thing that is measured, and what every run must keep.
import encoding from 'k6/encoding';
import exec from 'k6/execution';
import http from 'k6/http';
import grpc from 'k6/net/grpc';
import { check, sleep } from 'k6';
import { Counter } from 'k6/metrics';

// As compose.yaml opens them. ./run prints others: give them with -e.
export const addresses = {
  publisherHttp: __ENV.PUBLISHER_HTTP || 'http://localhost:8080',
  publisherGrpc: __ENV.PUBLISHER_GRPC || 'localhost:8081',
  subscriberHttp: __ENV.SUBSCRIBER_HTTP || 'http://localhost:8090',
  brokerGrpc: __ENV.BROKER_GRPC || 'localhost:7001',
};

// An answer that is neither what was asked for nor a clear refusal: none may ever come.
export const wrongAnswers = new Counter('wrong_answers');

// "Too much at once" and "not now": told clearly, nothing lost. What a run may have of them is its own threshold.
export const refusals = new Counter('refusals');

// Topics of one run; several, so that all shards have work, and not one for each message.
const topicsPerRun = 16;
const retryPauseSeconds = 0.2;
const inboxPatienceSeconds = 15;
const callTimeout = '30s';

// Clients are made before the run, and connected by each virtual user at its first call.
const publisher = new grpc.Client();
publisher.load(['../../Protos'], 'publisher/v1/publisher.proto');
const broker = new grpc.Client();
broker.load(['../../Protos'], 'broker/v1/broker.proto');
const connected = new Set();

function connect(client, address) {
  if (!connected.has(client)) {
    client.connect(address, { plaintext: true, timeout: callTimeout });
    connected.add(client);
  }
  return client;
}

// Gives every test of a run topics of its own: setup() returns it, and the scenarios get it.
export function newRun(name) {
  return { prefix: `k6.${name}.t${Date.now()}` };
}

export function topicOf(run) {
  return `${run.prefix}.n${exec.scenario.iterationInTest % topicsPerRun}`;
}

// A value that no other message of the run has. A size below its own length gives it as it is.
export function newValue(sizeBytes = 128) {
  return `${exec.vu.idInTest}-${exec.scenario.name}-${exec.scenario.iterationInTest}-`.padEnd(sizeBytes, 'x');
}

function judge(what, accepted, refused, detail) {
  if (refused) {
    refusals.add(1, { what });
  } else if (!accepted) {
    wrongAnswers.add(1, { what });
    console.error(`${what}: ${detail}`);
  }
  return check(null, { [`${what} is answered`]: () => accepted || refused }) && accepted;
}

// POST to the publisher. Returns the offset; -1 when the message is stored and will be published later; null when refused.
export function publishOverHttp(run, value = newValue(), topic = topicOf(run)) {
  const response = http.post(`${addresses.publisherHttp}/publish/${topic}`, value, {
    headers: { 'X-Key': `${exec.vu.idInTest}` },
    tags: { name: 'publish' },
    timeout: callTimeout,
  });
  const accepted = response.status === 200 || response.status === 202;
  const refused = [429, 503, 504].includes(response.status);
  return judge('HTTP publish', accepted, refused, `${response.status} ${response.body}`)
    ? Number(response.json('offset') ?? -1)
    : null;
}

// GET from the subscriber: the first messages of one topic of the run; none when refused.
export function readInbox(topic, limit = 100) {
  const response = http.get(
    `${addresses.subscriberHttp}/messages?topic=${encodeURIComponent(topic)}&after=0&limit=${limit}`,
    { tags: { name: 'messages' }, timeout: callTimeout });
  return judge('HTTP read', response.status === 200, response.status === 503, `${response.status} ${response.body}`)
    ? response.json()
    : [];
}

// Asks the inbox until it has the value, as often as patience allows. Returns how often it is there.
export function waitForInbox(topic, value) {
  for (let waited = 0; waited < inboxPatienceSeconds; waited += retryPauseSeconds) {
    const found = readInbox(topic).filter((message) => message.text === value).length;
    if (found > 0) {
      return found;
    }
    sleep(retryPauseSeconds);
  }
  return 0;
}

const RESOURCE_EXHAUSTED = 8;
const ABORTED = 10;
const UNAVAILABLE = 14;

function judgeCall(what, response) {
  const refused = [RESOURCE_EXHAUSTED, ABORTED, UNAVAILABLE].includes(response.status);
  return judge(what, response.status === grpc.StatusOK, refused, JSON.stringify(response.error));
}

// The publisher's gRPC. Returns as publishOverHttp does.
export function publishOverGrpc(run, value = newValue(), topic = topicOf(run)) {
  const response = connect(publisher, addresses.publisherGrpc).invoke(
    'publisher.v1.Publisher/Publish',
    { topic, record: { key: encoding.b64encode('k'), value: encoding.b64encode(value) } },
    { timeout: callTimeout });
  if (!judgeCall('gRPC publish', response)) {
    return null;
  }
  return response.message.committed ? Number(response.message.offset ?? 0) : -1;
}

// Straight to a broker, without an outbox. Returns the offset, or null when refused.
export function publishToBroker(run, value = newValue(), topic = topicOf(run)) {
  const response = connect(broker, addresses.brokerGrpc).invoke(
    'broker.v1.Broker/Publish',
    { topic, batch: { records: [{ value: encoding.b64encode(value) }] } },
    { timeout: callTimeout });
  return judgeCall('broker publish', response) ? Number(response.message.baseOffset ?? 0) : null;
}

// Reads one record from a broker. Resolves to its value; null when it is not there, undefined when the read was refused.
export function readFromBroker(topic, offset) {
  return new Promise((resolve) => {
    const stream = new grpc.Stream(connect(broker, addresses.brokerGrpc), 'broker.v1.Broker/Read');
    let value = null;
    stream.on('data', (response) => {
      for (const stored of response.batches ?? []) {
        const record = (stored.batch?.records ?? [])[offset - Number(stored.baseOffset ?? 0)];
        value = record ? encoding.b64decode(record.value, 'std', 's') : value;
      }
    });
    stream.on('error', (error) => {
      judgeCall('broker read', { status: error.code, error });
      resolve(undefined);
    });
    stream.on('end', () => resolve(value));
    stream.write({ topic, offset: `${offset}`, max_records: 1 });
    stream.end();
  });
}

// What every run must keep; each adds its own.
export const alwaysTrue = {
  checks: ['rate==1'],
  wrong_answers: ['count==0'],
};
