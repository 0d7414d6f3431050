// Knows only the standard reflection service, from a file with a FileDescriptorSet of it: asks the address given for its
// services, builds a client of the health service from the answer, and calls it.
"use strict";
const assert = require("node:assert");
const fs = require("node:fs");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [address, contracts] = process.argv.slice(2);
const credentials = grpc.credentials.createInsecure();
const soon = () => ({ deadline: Date.now() + 20_000 });

function reflectionOf(version) {
  const definition = grpc.loadPackageDefinition(
    loader.loadFileDescriptorSetFromBuffer(fs.readFileSync(contracts), { oneofs: true }));
  return new definition.grpc.reflection[version].ServerReflection(address, credentials);
}

async function ask(client, requests) {
  const call = client.serverReflectionInfo(soon());
  const answers = [];
  const ended = new Promise((resolve, reject) => call.on("end", resolve).on("error", reject));
  call.on("data", (answer) => answers.push(answer));
  requests.forEach((request) => call.write(request));
  call.end();
  await ended;
  return answers;
}

// A google.protobuf.FileDescriptorSet: its one field, number 1, for each file.
function setOf(files) {
  return Buffer.concat(files.flatMap((file) => {
    const head = [0x0a];
    for (let rest = file.length; ; rest >>>= 7) {
      if (rest < 0x80) {
        head.push(rest);
        break;
      }
      head.push((rest & 0x7f) | 0x80);
    }
    return [Buffer.from(head), file];
  }));
}

async function main() {
  for (const version of ["v1", "v1alpha"]) {
    const [list, unknown, found] = await ask(reflectionOf(version), [
      { list_services: "" }, { file_containing_symbol: "no.Such" }, { file_containing_symbol: "grpc.health.v1.Health" }]);
    const names = list.list_services_response.service.map((service) => service.name);
    assert.ok(names.includes("grpc.health.v1.Health"), names.join());
    assert.equal(unknown.error_response.error_code, grpc.status.NOT_FOUND);

    const files = found.file_descriptor_response.file_descriptor_proto;
    const definition = grpc.loadPackageDefinition(
      loader.loadFileDescriptorSetFromBuffer(setOf(files), { enums: String }));
    const health = new definition.grpc.health.v1.Health(address, credentials);
    const response = await new Promise((resolve, reject) => health.check(
      { service: "" }, soon(), (error, value) => error ? reject(error) : resolve(value)));
    assert.equal(response.status, "SERVING");

    const watch = health.watch({ service: "" }, soon());
    watch.on("error", () => {});
    assert.equal((await new Promise((resolve) => watch.once("data", resolve))).status, "SERVING");
    watch.cancel();
  }
  console.log("all passed");
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
