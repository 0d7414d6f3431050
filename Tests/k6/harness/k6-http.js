import { callAndWait, state } from './state.js';

function request(method, url, body, options) {
  state.calls.http++;
  const answer = callAndWait({ kind: 'http', method, url, body, headers: options?.headers });
  return { ...answer, json: (key) => (key === undefined ? JSON.parse(answer.body) : JSON.parse(answer.body)[key]) };
}

export default {
  get: (url, options) => request('GET', url, undefined, options),
  post: (url, body, options) => request('POST', url, body, options),
};
