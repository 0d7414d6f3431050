export default {
  b64encode: (text) => Buffer.from(text).toString('base64'),
  b64decode: (text) => Buffer.from(text, 'base64').toString(),
};
