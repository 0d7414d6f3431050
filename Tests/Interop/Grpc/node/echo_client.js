// Calls the echo service of the address given, with messages as plain bytes. Each check prints its name; a failure ends it.
"use strict";
const assert = require("node:assert");
const grpc = require("@grpc/grpc-js");

const bytes = (value) => value;
const [address, encoding] = process.argv.slice(2);
// grpc-dotnet compresses nothing to no bytes at all, which grpc-js does not take for gzip. Our services do not compress.
const smallest = encoding === "gzip" ? 1 : 0;
const client = new grpc.Client(address, grpc.credentials.createInsecure());
const zipping = new grpc.Client(address, grpc.credentials.createInsecure(), {
  "grpc.default_compression_algorithm": grpc.compressionAlgorithms.gzip,
});
const path = (method) => `/test.v1.Echo/${method}`;
const soon = (milliseconds = 20_000) => ({ deadline: Date.now() + milliseconds });

function metadataOf(entries) {
  const metadata = new grpc.Metadata();
  for (const [key, value] of Object.entries(entries)) {
    metadata.set(key, value);
  }
  return metadata;
}

// Resolves to everything that the call brings.
function unary(request, { entries = {}, options = soon(), method = "Unary", from = client } = {}) {
  return new Promise((resolve) => {
    const seen = {};
    const call = from.makeUnaryRequest(
      path(method), bytes, bytes, request, metadataOf(entries), options,
      (error, response) => Object.assign(seen, { error, response }));
    call.on("metadata", (headers) => { seen.headers = headers; });
    call.on("status", (status) => resolve({ ...seen, status }));
  });
}

function collect(requests, from = client) {
  return new Promise((resolve, reject) => {
    const call = from.makeClientStreamRequest(
      path("Collect"), bytes, bytes, new grpc.Metadata(), soon(),
      (error, response) => error ? reject(error) : resolve(response));
    requests.forEach((request) => call.write(request));
    call.end();
  });
}

function all(call) {
  return new Promise((resolve, reject) => {
    const responses = [];
    call.on("data", (response) => responses.push(response));
    call.on("error", reject);
    call.on("end", () => resolve(responses));
  });
}

function chat(entries = {}, from = client) {
  return from.makeBidiStreamRequest(path("Chat"), bytes, bytes, metadataOf(entries), soon());
}

function converse(messages, from = client) {
  const call = chat({}, from);
  messages.forEach((message) => call.write(message));
  call.end();
  return all(call);
}

const checks = {
  async unary() {
    assert.deepEqual((await unary(Buffer.from("abc"))).response, Buffer.from("abc"));
    assert.equal((await unary(Buffer.alloc(smallest))).response.length, smallest);
  },
  async large() {
    const message = Buffer.alloc(3 * 1024 * 1024, "0123456789");
    assert.ok(message.equals((await unary(message)).response));
    const echoes = await converse([message, message]);
    assert.ok(echoes.length === 2 && echoes.every((echo) => message.equals(echo)));
  },
  async collect() {
    const messages = Array.from({ length: 200 }, (_, i) => Buffer.from([i]));
    assert.deepEqual(await collect(messages), Buffer.concat(messages));
  },
  async count() {
    const call = client.makeServerStreamRequest(
      path("Count"), bytes, bytes, Buffer.from([200]), new grpc.Metadata(), soon());
    assert.deepEqual(await all(call), Array.from({ length: 200 }, (_, i) => Buffer.from([i])));
  },
  async chat() {
    const messages = Array.from({ length: 100 }, (_, i) => Buffer.alloc(i + smallest, i));
    assert.deepEqual(await converse(messages), messages);
  },
  async metadata() {
    const data = Buffer.from([0, 1, 254, 255]);
    const { headers, status } = await unary(
      Buffer.from("x"), { entries: { act: "metadata", text: "a b", "data-bin": data } });
    assert.deepEqual(headers.get("seen"), ["a b"]);
    assert.deepEqual(headers.get("seen-bin"), [data]);
    assert.deepEqual(status.metadata.get("end"), ["the end"]);
    assert.deepEqual(status.metadata.get("end-bin"), [Buffer.from([0, 255])]);
  },
  async status() {
    const { status } = await unary(Buffer.from("x"), { entries: { act: "fail" } });
    assert.equal(status.code, grpc.status.FAILED_PRECONDITION);
    assert.equal(status.details, "Zustände 100 %");
    assert.deepEqual(status.metadata.get("grpc-status-details-bin"), [Buffer.from([8, 9, 18, 3, 119, 104, 121])]);
  },
  async exception() {
    const { status } = await unary(Buffer.from("x"), { entries: { act: "throw" } });
    assert.equal(status.code, grpc.status.UNKNOWN);
  },
  async unknown_method() {
    const { status } = await unary(Buffer.from("x"), { method: "Nothing" });
    assert.equal(status.code, grpc.status.UNIMPLEMENTED);
    assert.match(status.details, /unimplemented/i);
  },
  async too_large() {
    const { status } = await unary(Buffer.alloc(5 * 1024 * 1024));
    assert.equal(status.code, grpc.status.RESOURCE_EXHAUSTED);
  },
  async deadline() {
    const { status } = await unary(Buffer.from("x"), { entries: { act: "sleep" }, options: soon(200) });
    assert.equal(status.code, grpc.status.DEADLINE_EXCEEDED);
  },
  async cancel() {
    const call = chat({ act: "stay" });
    const failed = new Promise((resolve) => call.on("error", resolve));
    call.on("data", () => call.cancel());
    call.write(Buffer.from("x"));
    assert.equal((await failed).code, grpc.status.CANCELLED);
  },
  async gzip() {
    const message = Buffer.alloc(100_000, "z");
    assert.ok(message.equals((await unary(message, { from: zipping })).response));
    assert.ok(message.equals((await converse([message], zipping))[0]));
    assert.equal((await collect([message, message], zipping)).length, 200_000);
  },
};

async function main() {
  for (const [name, check] of Object.entries(checks)) {
    console.log(name);
    await check();
  }

  // Ends without a word to the server.
  const call = chat({ act: "vanish" });
  call.write(Buffer.from("x"));
  await new Promise((resolve) => call.once("data", resolve));
  console.log("all passed");
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
