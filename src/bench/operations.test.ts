import { afterAll, expect, test } from 'vitest';
import { van } from '../models/vision/van';
import { createRuntime } from '../ops/create-runtime';
import { gatedDeltaRuleOp } from '../ops/gated-delta-rule';
import { argsortOp } from '../ops/top-k';
import { tokenCopy } from './copy';
import { declaredOperation } from './declared-operations';
import { appending, decoding, prefill, readOfKeys, skinnyProduct } from './decode-operations';
import { gateOf } from './gate';
import { kernelOperation } from './kernel-operations';
import { deltaRule } from './linear-operations';
import { localLinear } from './local-linear-operations';
import { networkOperation } from './network-operations';
import { decodingParallax, parallaxForward, parallaxGradients } from './parallax-operations';
import { sharedOperation } from './peer-operations';
import * as primitives from './primitive-operations';
import { inputsOf, MASKS, type Operation, type Problem } from './problem';
import { routedOperation } from './routed-operations';
import { Runtimes } from './runtimes';
import { saccade } from './saccade';
import { shortSequences } from './short-sequences';

const { product, ...rowOperations } = primitives;
const TOKENS = { n: 36, h: 2, d: 8 };
const SHARED = (['f32-f16', 'f16-f32', 'transpose', 'product'] as const).map(sharedOperation);
const KERNELS = (['gaussian-product', 'laplace', 'cholesky-f64', 'solve', 'eigh'] as const).map(kernelOperation);
/** Some MiB, of which each call takes another copy. */
const KEYS = { n: 512, h: 8, d: 128 };
const ROWS = { n: 300, h: 1, d: 20 };

/** Products of matrices, which are judged by their first row, are not among them. */
const network = networkOperation({
  name: 'van',
  model: van as never,
  params: { variant: 'b0', classes: 9 },
  size: [32, 32],
  multiplications: 20,
  results: 9,
});

const at = (extents: typeof TOKENS, operations: readonly Operation[]) =>
  operations.map((operation) => [operation.name, { ...extents, mask: MASKS.causal, operation }] as const);

const runtimes = new Runtimes(() => createRuntime({ threads: 2 }));
afterAll(() => runtimes.dispose());

test.each<readonly [string, Problem]>([
  ...at(TOKENS, [
    tokenCopy,
    shortSequences(12),
    deltaRule('chunked'),
    localLinear(1),
    parallaxForward,
    parallaxGradients,
  ]),
  ...at({ n: 20, h: 1, d: 20 }, SHARED),
  ...at(TOKENS, [prefill(undefined), prefill(14), appending]),
  ...at(KEYS, [
    readOfKeys,
    decoding({ name: 'plain' }),
    decoding({ name: 'bf16', dtype: 'bf16', queries: 3, window: 100, isSloped: true }),
    decodingParallax,
  ]),
  ...at({ n: 2, h: 1, d: 1024 }, [skinnyProduct({ dtype: 'f16' }), skinnyProduct({ dtype: 'bf16', transposeB: true })]),
  ...at(ROWS, [declaredOperation(argsortOp, { '...': 6, c: 50 })]),
  ...at(ROWS, [declaredOperation(gatedDeltaRuleOp, { b: 1, n: 9, h: 2, d: 8, e: 4 })]),
  ...at(ROWS, [...Object.values(rowOperations), product(false), product(true)]),
  ...at({ n: 40, h: 1, d: 5 }, KERNELS),
  ...at({ n: 196, h: 2, d: 8 }, [routedOperation, network]),
])('%s passes its gate, and with one number wrong does not', async (_, problem) => {
  const inputs = inputsOf(problem);
  const { signal } = new AbortController();
  const session = await saccade(runtimes, {}).open({ problem, inputs }, signal);
  await session.time(1, signal);
  const result = await session.result(signal);
  session.close();
  const gate = await gateOf(problem, inputs);
  expect(gate(result)).toBeLessThan(1e-5);
  result[result.length - 1] = Number.NaN;
  expect(() => gate(result)).toThrow('differs from the float64 reference');
});
