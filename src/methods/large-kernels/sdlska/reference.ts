import type { HostTensor } from '../../../tensor/host';
import { resultsOf, Trace, type Traced } from '../reference';

type Inputs<T> = Readonly<Record<string, T | undefined>>;

/** What the extents say: strips whose taps are 2 apart after a kernel of 3 × 3, and 3 apart after one of 5 × 5. */
const distanceAfter = (small = 0) => (small === 3 ? 2 : 3);

/**
 * Strips across and down a picture that a small convolution has gone over, weighed by channel and place, mixed, and taken as a
 * gate of x.
 */
export function reference(
  inputs: Inputs<HostTensor>,
  _params: object,
  gradOut?: HostTensor,
): Record<string, HostTensor<'f64'>> {
  const trace = new Trace();
  const traced: Record<string, Traced> = Object.fromEntries(
    Object.entries(inputs).map(([name, each]) => [name, trace.input(each as HostTensor)]),
  );
  const of = (name: string) => traced[name] as Traced;
  const convolved = (
    x: Traced,
    name: string,
    padding: readonly [number, number],
    distance = 1,
    groups = x.shape[1] as number,
  ) => trace.conv(x, of(`${name}.weight`), of(`${name}.bias`), { padding, dilation: [distance, distance], groups });
  const x = of('x');
  const [b, c, rows, columns] = x.shape as [number, number, number, number];
  const small = of('DW_conv.dwconv.weight').shape[2] as number;
  const distance = distanceAfter(small);
  const reach = ((of('DW_D_conv_h.dwconv.weight').shape[3] as number) - 1) * distance;
  const s = convolved(x, 'DW_conv.dwconv', [(small - 1) / 2, (small - 1) / 2]);
  const h = convolved(s, 'DW_D_conv_h.dwconv', [0, reach / 2], distance);
  const v = convolved(s, 'DW_D_conv_v.dwconv', [reach / 2, 0], distance);

  const all = trace.add(trace.add(s, h), v);
  const stage = (y: Traced, name: string) => {
    const mixed = convolved(y, `FS_kernel.${name}.0.pwconv`, [0, 0], 1, 1);
    const near = convolved(mixed, `FS_kernel.${name}.1.dwconv`, [1, 1]);
    const [gain, bias, mean, variance] = ['weight', 'bias', 'running_mean', 'running_var'].map((each) =>
      of(`FS_kernel.${name}.2.${each}`),
    ) as [Traced, Traced, Traced, Traced];
    return trace.relu(trace.batchNorm(near, gain, bias, mean, variance));
  };
  const hidden = stage(trace.mean(all, [b, c, 1, 1]), 'fc_reduce');
  const summary = trace.concat(trace.mean(all, [b, 1, rows, columns]), trace.max(all, [b, 1, rows, columns]));
  const places = trace.sigmoid(convolved(summary, 'FS_kernel.conv_squeeze', [3, 3], 1, 1));
  const parts = [s, h, v].map((branch, which) => {
    const gate = trace.sigmoid(stage(hidden, `fc_expand_${['small', 'big_h', 'big_v'][which]}`));
    return trace.multiply(trace.multiply(branch, gate), trace.channel(places, which));
  }) as [Traced, Traced, Traced];
  const chosen = trace.add(trace.add(parts[0], parts[1]), parts[2]);
  const out = trace.multiply(x, convolved(chosen, 'pwconv.pwconv', [0, 0], 1, 1));
  const learned = Object.fromEntries(Object.entries(traced).filter(([name]) => !/running/.test(name)));
  return resultsOf(trace, { out }, learned, gradOut);
}
