import { expect, test } from 'vitest';
import { describeOnBackends } from '../../test/backends';
import { scoped } from '../../test/scoped';
import {
  add,
  attention,
  cast,
  contiguous,
  createRuntime,
  differentiate,
  linearAttention,
  map,
  multiply,
  pullback,
  type Runtime,
  recompute,
  relu,
  rmsNormBackward,
  step,
  stopGradient,
  straightThrough,
  sum,
  type Tensor,
  withDerivative,
} from '../index';

/** Nothing of what `work` makes stays allocated. */
async function leavingNothing(runtime: Runtime, work: () => Promise<void>): Promise<void> {
  const before = runtime.memory().live;
  await scoped(runtime, work);
  await runtime.finish();
  expect(runtime.memory().live).toBe(before);
}

describeOnBackends('differentiate', (runtime) => {
  const vector = (...values: number[]) => runtime().tensor(values, [values.length]);

  test('gives gradients in the structure of the parameters, zeros where they were not reached', () =>
    leavingNothing(runtime(), async () => {
      const parameters = {
        layers: [{ w: vector(1, 2) }, { w: vector(3, -1) }],
        unused: vector(5),
        places: runtime().tensor(Int32Array.of(1), [1]),
        width: 2,
      };
      const { loss, gradients } = differentiate(({ layers: [first, second], width }) => {
        const product = multiply(first!.w, second!.w);
        return sum(multiply(product, runtime().tensor([width], [])));
      }, parameters);
      expect(await loss.read()).toEqual(Float32Array.of(2));
      expect(await gradients.layers[0]!.w.read()).toEqual(Float32Array.of(6, -2));
      expect(await gradients.layers[1]!.w.read()).toEqual(Float32Array.of(2, 4));
      expect(await gradients.unused.read()).toEqual(Float32Array.of(0));
      expect([gradients.places, gradients.width]).toEqual([undefined, undefined]);
      expect(loss.variable).toBeUndefined();
    }));

  test('sums what comes from several uses and from slices that overlap or leave gaps', () =>
    leavingNothing(runtime(), async () => {
      const { gradients } = differentiate(
        ({ x }) => {
          const part = (from: number, to: number) => sum(contiguous(x.slice(0, from, to)));
          return add(add(part(0, 2), part(1, 4)), add(part(5, 6), sum(multiply(x, x))));
        },
        { x: vector(1, 2, 3, 4, 5, 6) },
      );
      expect(await gradients.x.read()).toEqual(Float32Array.of(3, 6, 7, 9, 10, 13));
    }));

  test('gradients with respect to 16-bit tensors sum in f32 and have their dtype', () =>
    leavingNothing(runtime(), async () => {
      for (const dtype of ['f16', 'bf16'] as const) {
        const x = runtime().tensor([1, 2, 3], [3], dtype);
        const { gradients } = differentiate(
          ({ x }) => {
            const wide = cast(x, 'f32');
            return sum(
              add(multiply(wide, wide), cast(contiguous(x.reshape([1, 3]).expand([2, 3]).slice(0, 1, 2)), 'f32')),
            );
          },
          { x },
        );
        expect(gradients.x.dtype).toBe(dtype);
        expect(await cast(gradients.x, 'f32').read()).toEqual(Float32Array.of(3, 5, 7));
      }
    }));

  test('pullback takes gradients of some results, once', () =>
    leavingNothing(runtime(), async () => {
      const x = vector(1, 2);
      const { results, pull } = pullback(({ x }) => ({ parts: [multiply(x, x), x], none: null }), { x });
      expect(await results.parts[0]!.read()).toEqual(Float32Array.of(1, 4));
      const gradients = pull({ parts: [vector(10, 1)] });
      expect(await gradients.x.read()).toEqual(Float32Array.of(20, 4));
      expect(() => pull({ parts: [vector(10, 1)] })).toThrow('pull() was called before');
    }));

  test('tapes at once do not meet, and their inputs may be disposed', () =>
    leavingNothing(runtime(), async () => {
      const make = (factor: number) => {
        using x = vector(factor, 2);
        return pullback((y) => multiply(y, y), x);
      };
      const [first, second] = [make(1), make(3)];
      const [late, early] = [second.pull(vector(1, 1)), first.pull(vector(1, 1))];
      expect(await early.read()).toEqual(Float32Array.of(2, 4));
      expect(await late.read()).toEqual(Float32Array.of(6, 4));
    }));

  test('recompute keeps the inputs alone and gives the same gradients', () =>
    leavingNothing(runtime(), async () => {
      const block = (x: Tensor, p: { readonly w: Tensor }) => relu(multiply(relu(multiply(x, p.w)), p.w));
      const inputs = { x: runtime().random([64, 8], { seed: 1 }), p: { w: runtime().random([8], { seed: 2 }) } };
      const live = () => runtime().memory().live;
      const gradientsOf = async (run: typeof block) => {
        await runtime().finish();
        const before = live();
        const { results, pull } = pullback(({ x, p }) => sum(run(run(x, p), p)), inputs);
        await runtime().finish();
        const kept = live() - before;
        const gradients = pull(runtime().tensor([1], []));
        results.dispose();
        return { kept, x: await gradients.x.read(), w: await gradients.p.w.read() };
      };
      const plain = await gradientsOf(block);
      const again = await gradientsOf((x, p) => recompute(block, x, p));
      expect(again.x).toEqual(plain.x);
      expect(again.w).toEqual(plain.w);
      expect(again.kept).toBeLessThan(plain.kept / 2);
    }));

  test('constants, straight-through steps and derivatives of one’s own', () =>
    leavingNothing(runtime(), async () => {
      const x = vector(-1, 2);
      const scaled = withDerivative(
        (a: Tensor, b: Tensor) => ({ product: multiply(a, b) }),
        ({ results, gradients }) => [multiply(results.product, gradients.product as Tensor), x],
      );
      const { gradients } = differentiate(
        (p) => {
          const constant = multiply(p.x, stopGradient(p.x));
          const through = straightThrough(step, p.y);
          return sum(add(add(constant, through), scaled(p.a, p.b).product));
        },
        { x, y: x, a: x, b: x },
      );
      expect(await gradients.x.read()).toEqual(Float32Array.of(-1, 2));
      expect(await gradients.y.read()).toEqual(Float32Array.of(1, 1));
      expect(await gradients.a.read()).toEqual(Float32Array.of(1, 4));
      expect(await gradients.b.read()).toEqual(Float32Array.of(-1, 2));
      gradients.b.dispose();
      expect(await x.read()).toEqual(Float32Array.of(-1, 2));
    }));

  test('structures whose names have dots, and a constant that recompute() returns', () =>
    leavingNothing(runtime(), async () => {
      const inputs = { a: { b: vector(2) }, 'a.b': vector(3), c: [vector(5)], 'c[0]': vector(7) };
      const constant = vector(11);
      const block = ({ a, 'a.b': dotted, c: [first], 'c[0]': bracketed }: typeof inputs) => ({
        product: multiply(multiply(a.b, dotted), multiply(first!, bracketed)),
        constant,
      });
      const { gradients } = differentiate((p) => {
        const { product, constant } = recompute(block, p);
        return multiply(product, constant);
      }, inputs);
      const all = [gradients.a.b, gradients['a.b'], gradients.c[0]!, gradients['c[0]']];
      expect(await Promise.all(all.map(async (each) => (await each.read())[0]))).toEqual(
        [2, 3, 5, 7].map((value) => (11 * 2 * 3 * 5 * 7) / value),
      );
      expect(await add(constant, constant).read()).toEqual(Float32Array.of(22));
    }));

  test('what callers change before the backward pass changes nothing', () =>
    leavingNothing(runtime(), async () => {
      const q = runtime().random([1, 3, 1, 2], { seed: 1 });
      const pulled = async (change: (inputs: { q?: Tensor }, results: { out?: Tensor }) => void) => {
        const [inputs, decay, window] = [{ p: [vector(2)], q }, [0.5], [1, 0] as [number, number]];
        const scaled = (q: Tensor, captured: { by: number }) => map((q, { by }) => q * by, q, { captured });
        const factor = { by: 2 };
        const { results, pull } = pullback(({ q }) => {
          const { out: linear } = linearAttention(q, q, q, { causal: true, decay });
          const { out: local } = attention(q, q, q, { window });
          return { out: add(add(linear, local), recompute(scaled, q, factor)) };
        }, inputs);
        inputs.p.push(vector(3));
        [decay[0], window[0], factor.by] = [0.1, 0, 5];
        change(inputs, results);
        const gradients = pull({ out: q });
        expect(await gradients.p[0]!.read()).toEqual(Float32Array.of(0));
        return gradients.q.read();
      };
      const expected = await pulled(() => {});
      const found = await pulled((inputs, results) => {
        inputs.q = vector(1);
        results.out = vector(1);
      });
      expect(found).toEqual(expected);
    }));

  test('memory that a tape needs is lent to nobody, and gradients share none', () =>
    leavingNothing(runtime(), async () => {
      const [x, y, weights] = [vector(1, 2), vector(3, 4), vector(5, 6)];
      const { results, pull } = pullback(
        ({ x, y }) => {
          const sum = add(x, y);
          expect(() => relu(weights, { out: sum as Tensor<'f32'> })).toThrow('nothing may be written to it');
          expect(() => relu(weights, { out: stopGradient(sum) as Tensor<'f32'> })).toThrow('nothing may be written');
          return multiply(sum, stopGradient(sum));
        },
        { x, y },
      );
      if (runtime().backend.view)
        expect(() => x.data).toThrow('data: the tensor is tracked or kept for a backward pass');
      const gradients = pull(weights);
      map((g) => 10 * g, [gradients.x, gradients.y], { out: [gradients.x, gradients.y] });
      multiply(gradients.x, gradients.x, { out: results as Tensor<'f32'> });
      expect(await gradients.x.read()).toEqual(Float32Array.of(200, 360));
      expect(await gradients.y.read()).toEqual(Float32Array.of(200, 360));
      const whole = pullback((x) => x, x).pull(weights);
      map((g) => 10 * g, whole, { out: whole });
      expect(await weights.read()).toEqual(Float32Array.of(5, 6));
      await runtime().finish();
      if (runtime().backend.view) expect([...x.data]).toEqual([1, 2]);
    }));

  test('what it refuses, by name, and frees', async () => {
    using other = await createRuntime({ backend: 'reference' });
    const foreign = other.tensor([1, 2], [2]);
    const endless: Record<string, unknown> = {};
    endless.itself = endless;
    return leavingNothing(runtime(), async () => {
      const [x, disposed, bits] = [vector(1, 2), vector(1), runtime().tensor(Int32Array.of(1, 2), [2])];
      disposed.dispose();
      const loss = (y: Tensor) => sum(multiply(y, y));
      using named = pullback((y) => ({ y: loss(y) }), x);
      const { results, pull } = pullback(loss, x);
      const refusals: [() => unknown, string][] = [
        [() => differentiate((y) => y, x), 'must be a tensor of one floating-point number, got f32 [2]'],
        [() => differentiate(() => 3 as never, x), 'must return tensors, alone or in arrays and objects, got 3'],
        [() => differentiate((async (y: Tensor) => loss(y)) as never, x), 'fn of differentiate() must not wait'],
        [() => differentiate(loss, 3 as never), 'inputs of differentiate() must be tensors'],
        [() => differentiate(loss, disposed), 'was disposed'],
        [() => differentiate(3 as never, x), 'fn of differentiate() must be a function, got 3'],
        [() => differentiate((y) => differentiate(loss, y).loss, x), 'second derivatives are not supported'],
        [
          () => differentiate((y) => sum(rmsNormBackward(y, y)), x),
          'has no derivative, and second derivatives are not supported',
        ],
        [() => differentiate((y) => multiply(y, y, { out: vector(0, 0) }), x), "cannot write to 'out' of the caller"],
        [
          () => differentiate((y) => add(loss(y), sum(multiply(vector(1, 1), vector(1, 2), { out: x as never }))), x),
          'nothing may be written',
        ],
        [() => differentiate((y) => recompute(() => loss(y)), x), 'fn of recompute() uses a tracked tensor'],
        [() => differentiate((y) => sum(straightThrough(sum, y)), x), 'must have the shape [2] of x, got []'],
        [
          () => differentiate((y) => sum(withDerivative(relu as (y: Tensor) => Tensor, () => [])(y)), x),
          'an array of 1 gradients',
        ],
        [
          () => differentiate((y) => sum(withDerivative(relu as (y: Tensor) => Tensor, () => [sum(x)])(y)), x),
          'the gradient of withDerivative() with respect to [0] must be a tensor of shape [2], got []',
        ],
        [
          () => differentiate((y) => sum(withDerivative(relu as (y: Tensor) => Tensor, () => [3 as never])(y)), x),
          'must be a tensor of shape [2], got 3',
        ],
        [
          () => differentiate((y) => sum(withDerivative(relu as (y: Tensor) => Tensor, () => [foreign])(y)), x),
          'the gradient of withDerivative() with respect to [0] lives on another runtime than its input',
        ],
        [
          () => differentiate((y) => sum(withDerivative(relu as (y: Tensor) => Tensor, () => [bits])(y)), x),
          'the gradient of withDerivative() with respect to [0] must be of floating-point numbers, got i32',
        ],
        [() => differentiate(loss, { endless } as never), 'inputs of differentiate() must be a tree'],
        [
          () => differentiate((y) => [loss(y), endless] as never, x),
          'what fn of differentiate() returns must be a tree',
        ],
        [
          () => differentiate((y) => recompute((_: Tensor) => endless as never, y), x),
          'what fn of recompute() returns must be',
        ],
        [() => pull(x), 'gradients must have the shape [] of the result, got [2]'],
        [() => pull(3 as never), 'gradients must be a Tensor, got 3'],
        [() => named.pull({ z: x } as never), "gradients: there is no result 'z'"],
      ];
      for (const [call, message] of refusals) expect(call, message).toThrow(message);
      const aborted = AbortSignal.abort(new Error('enough'));
      expect(() => differentiate(loss, x, { signal: aborted })).toThrow('enough');
      // What it refused it did not use up.
      using one = runtime().tensor([1], results.shape);
      expect(await pull(one).read()).toEqual(Float32Array.of(2, 4));
    });
  });
});

test('the same bits on any number of threads', async () => {
  const gradientsOn = async (threads: number) => {
    using runtime = await createRuntime({ threads });
    const inputs = { q: runtime.random([2, 40, 4, 8], { seed: 1 }), k: runtime.random([2, 40, 2, 8], { seed: 2 }) };
    const { gradients } = differentiate(({ q, k }) => sum(attention(q, k, k, { causal: true }).out), inputs);
    return [await gradients.q.read(), await gradients.k.read()];
  };
  expect(await gradientsOn(3)).toEqual(await gradientsOn(1));
});
