// The echo service on grpc-js, with messages as plain bytes. Prints its port, later what it is asked to tell.
"use strict";
const grpc = require("@grpc/grpc-js");

const bytes = (value) => value;

function actOf(call) {
  return call.metadata.get("act")[0];
}

function unary(call, callback) {
  switch (actOf(call)) {
    case "fail": {
      const metadata = new grpc.Metadata();
      metadata.set("why", "because");
      metadata.set("why-bin", Buffer.from([0, 255]));
      metadata.set("grpc-status-details-bin", Buffer.from([8, 9, 18, 3, 119, 104, 121]));
      callback({ code: grpc.status.FAILED_PRECONDITION, details: "Zustände 100 %", metadata });
      return;
    }
    case "sleep":
      return;
    case "large":
      callback(null, Buffer.alloc(5 * 1024 * 1024));
      return;
    case "metadata": {
      const metadata = new grpc.Metadata();
      metadata.set("seen", call.metadata.get("text")[0]);
      metadata.set("seen-bin", call.metadata.get("data-bin")[0]);
      call.sendMetadata(metadata);
      break;
    }
  }
  callback(null, call.request);
}

function collect(call, callback) {
  const requests = [];
  call.on("data", (request) => requests.push(request));
  call.on("end", () => callback(null, Buffer.concat(requests)));
}

function count(call) {
  for (let i = 0; i < call.request[0]; i++) {
    call.write(Buffer.from([i]));
  }
  call.end();
}

function chat(call) {
  call.on("data", (request) => call.write(request));
  call.on("end", () => call.end());
  call.on("error", () => call.end());
  if (actOf(call) === "tell") {
    call.on("cancelled", () => console.log("cancelled"));
  }
}

function method(path, requestStream, responseStream) {
  return {
    path, requestStream, responseStream,
    requestSerialize: bytes, requestDeserialize: bytes, responseSerialize: bytes, responseDeserialize: bytes,
  };
}

const server = new grpc.Server();
server.addService({
  unary: method("/test.v1.Echo/Unary", false, false),
  collect: method("/test.v1.Echo/Collect", true, false),
  count: method("/test.v1.Echo/Count", false, true),
  chat: method("/test.v1.Echo/Chat", true, true),
}, { unary, collect, count, chat });
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) {
    throw error;
  }
  console.log(port);
});
process.stdin.on("end", () => process.exit(0)).resume();
