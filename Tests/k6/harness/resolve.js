// Gives the scripts the modules of this folder where they ask for those of k6: 'k6/net/grpc' is k6-net-grpc.js.
export function resolve(specifier, context, next) {
  return /^k6(\/|$)/.test(specifier)
    ? { url: new URL(`./${specifier.replaceAll('/', '-')}.js`, import.meta.url).href, shortCircuit: true }
    : next(specifier, context);
}
