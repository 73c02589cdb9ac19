/** A rank: forward and backward attention over ranks, beside that of one machine. */
import { asRank, contextParallel } from '../../src/cluster';
import * as saccade from '../../src/index';

await asRank(async (communicator, { tokens }: { readonly tokens: number }) => {
  const { runtime } = communicator;
  const [q, k, v] = [4, 2, 2].map((heads, seed) => runtime.random([1, tokens, heads, 8], { seed })) as Three;
  const attend = saccade.pullback((x: Inputs) => saccade.attention(x.q, x.k, x.v, { causal: true }), { q, k, v });
  const over = contextParallel(saccade.attention, { communicator, tokens, causal: true, mechanism: 'ring' });
  const own = { q: over.dispatch(q), k: over.dispatch(k), v: over.dispatch(v) };
  const shared = saccade.pullback((x: Inputs) => ({ out: over(x.q, x.k, x.v).out }), own);
  const gradients = attend.pull({ out: attend.results.out }) as Inputs;
  const ownGradients = shared.pull({ out: shared.results.out }) as Inputs;
  const errors = [
    await error(over.undispatch(shared.results.out), attend.results.out),
    await error(over.undispatch(ownGradients.k), gradients.k),
  ];
  return Math.max(...errors);
});

type Three = [saccade.Tensor, saccade.Tensor, saccade.Tensor];
type Inputs = { readonly q: saccade.Tensor; readonly k: saccade.Tensor; readonly v: saccade.Tensor };

async function error(actual: saccade.Tensor, expected: saccade.Tensor): Promise<number> {
  const [a, b] = [await actual.read(), await expected.read()] as [Float32Array, Float32Array];
  return a.reduce((most, value, at) => Math.max(most, Math.abs(value - (b[at] as number))), 0);
}
