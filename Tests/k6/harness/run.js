// Runs each function of a script some times, as k6 would for one virtual user: node harness/run.js smoke.js
// It finds what is wrong in a script, and measures nothing. Addresses: as for k6, from the environment.
import { register } from 'node:module';
import process from 'node:process';
import { pathToFileURL } from 'node:url';

register('./resolve.js', import.meta.url);
globalThis.__ENV = process.env;
const { state, finish } = await import('./state.js');

const iterationsPerScenario = 3;
const builtIn = ['checks', 'dropped_iterations', 'grpc_req_duration', 'http_req_duration', 'http_req_failed', 'iterations'];

const script = await import(pathToFileURL(process.argv[2]).href);
const scenarios = script.options.scenarios
  ?? { default: { exec: 'default', executor: 'shared-iterations', iterations: script.options.iterations } };
const data = script.setup?.();
for (const [name, scenario] of Object.entries(scenarios)) {
  const run = script[scenario.exec ?? 'default'];
  if (typeof run !== 'function') {
    throw new Error(`The scenario ${name} runs ${scenario.exec}, which is no function of the script.`);
  }
  for (let iteration = 0; iteration < iterationsPerScenario; iteration++) {
    state.scenario = { name, iterationInTest: iteration };
    await run(data);
  }
}

for (const metric of Object.keys(script.options.thresholds)) {
  const name = metric.replace(/\{.*/, '');
  if (!builtIn.includes(name) && !state.counters.has(name)) {
    throw new Error(`A threshold names the metric ${name}, which does not exist.`);
  }
}

const failed = [...state.checks].filter(([, { fails }]) => fails > 0).map(([name]) => name);
const wrong = state.counters.get('wrong_answers') ?? 0;
console.log(JSON.stringify({
  checks: Object.fromEntries(state.checks), counters: Object.fromEntries(state.counters), calls: state.calls, failed,
}));
finish();
process.exit(failed.length > 0 || wrong > 0 || state.checks.size === 0 ? 1 : 0);
