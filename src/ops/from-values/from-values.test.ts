import { expect, test } from 'vitest';
import { describeOnBackends } from '../../../test/backends';
import { add, gather } from '../../index';
import { fromValues } from '.';

describeOnBackends('fromValues', (runtime) => {
  test('makes a tensor from elements that are computed by then, in row-major order', async () => {
    const { live } = runtime().memory();
    const x = runtime().tensor([1, 2, 3, 4], [2, 2]);
    const double = add(x, x);
    const turned = double.permute([1, 0]);
    const whole = runtime().tensor(Int32Array.of(7), [1]);
    const made = fromValues({ turned, whole }, [5], ({ turned, whole }) =>
      Float64Array.of(...(turned!.data as Float32Array), whole!.data[0] as number),
    );
    for (const tensor of [x, double, turned, whole]) tensor.dispose();
    expect([...(await made.read())]).toEqual([2, 6, 4, 8, 7]);
    made.dispose();
    expect(runtime().memory().live).toBe(live);
  });

  test('what making it throws is its fault', async () => {
    using x = runtime().tensor([1], [1]);
    using made = fromValues({ x }, [1], ({ x }) => {
      throw new RangeError(`no use of ${x!.data[0]}`);
    });
    using next = add(made, x);
    await expect(next.read()).rejects.toThrow('no use of 1');
    await expect(made.read()).rejects.toThrow(RangeError);
    await runtime().finish();
  });

  test('nothing is made from elements that are wrong', async () => {
    using table = runtime().tensor([1, 2], [2, 1]);
    using indices = runtime().tensor(Int32Array.of(5), [1]);
    using rows = gather(table, indices);
    let makes = 0;
    using made = fromValues({ rows }, [1], () => {
      makes++;
      return Float64Array.of(1);
    });
    await expect(made.read()).rejects.toThrow('indices must be from 0 to 1, got 5 at element 0 of indices');
    await runtime().finish();
    expect(makes).toBe(0);
  });
});
