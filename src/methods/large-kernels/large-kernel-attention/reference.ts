import type { HostTensor } from '../../../tensor/host';
import { resultsOf, Trace } from '../reference';

export interface LargeKernelInputs<T> {
  /** [b, c, rows, columns]. */
  readonly x: T;
  readonly 'conv0.weight': T;
  readonly 'conv0.bias': T;
  readonly 'conv_spatial.weight': T;
  readonly 'conv_spatial.bias': T;
  readonly 'conv1.weight': T;
  readonly 'conv1.bias': T;
}

/** x times a map made from it by a convolution of each channel, one with distances between taps, and one across channels. */
export function reference(
  inputs: LargeKernelInputs<HostTensor>,
  { dilation }: { readonly dilation: number },
  gradOut?: HostTensor,
) {
  const trace = new Trace();
  const traced = Object.fromEntries(
    Object.entries(inputs).map(([name, each]) => [name, trace.input(each)]),
  ) as unknown as LargeKernelInputs<ReturnType<Trace['input']>>;
  const { x } = traced;
  const groups = x.shape[1] as number;
  const around = (extent = 1, distance = 1) => Math.floor(((extent - 1) * distance) / 2);
  const [, , u, v] = traced['conv0.weight'].shape;
  const near = trace.conv(x, traced['conv0.weight'], traced['conv0.bias'], { groups, padding: [around(u), around(v)] });
  const [, , s, t] = traced['conv_spatial.weight'].shape;
  const far = trace.conv(near, traced['conv_spatial.weight'], traced['conv_spatial.bias'], {
    groups,
    dilation: [dilation, dilation],
    padding: [around(s, dilation), around(t, dilation)],
  });
  const gate = trace.conv(far, traced['conv1.weight'], traced['conv1.bias']);
  return resultsOf(trace, { out: trace.multiply(x, gate) }, { ...traced }, gradOut);
}
