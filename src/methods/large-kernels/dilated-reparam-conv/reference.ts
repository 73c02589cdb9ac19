import type { HostTensor } from '../../../tensor/host';
import { EPSILON, resultsOf, Trace, type Traced } from '../reference';

type Inputs = Readonly<Record<string, HostTensor | undefined>>;

/** The sum of a large convolution of each channel and dilated smaller ones, each normalised; and the one kernel that they are. */
export function reference(inputs: Inputs, _params: object, gradOut?: HostTensor): Record<string, HostTensor<'f64'>> {
  const trace = new Trace();
  const traced: Record<string, Traced> = Object.fromEntries(
    Object.entries(inputs).flatMap(([name, each]) => (each ? [[name, trace.input(each)]] : [])),
  );
  const of = (name: string) => traced[name] as Traced;
  const x = of('x');
  const [c, k] = [x.shape[1] as number, of('lk_origin.weight').shape[2] as number];
  const small = Object.keys(traced).flatMap((name) => name.match(/^dil_conv_k(\d+)_(\d+)\.weight$/) ?? []);
  const branches = [['lk_origin', 'origin_bn', k, 1] as const];
  for (let at = 0; at < small.length; at += 3)
    branches.push([
      `dil_conv_k${small[at + 1]}_${small[at + 2]}`,
      `dil_bn_k${small[at + 1]}_${small[at + 2]}`,
      Number(small[at + 1]),
      Number(small[at + 2]),
    ] as never);
  const weight = new Float64Array(c * k * k);
  const bias = new Float64Array(c);
  const parts = branches.map(([conv, norm, taps, dilation]) => {
    const reach = ((taps - 1) * dilation) / 2;
    const y = trace.conv(x, of(`${conv}.weight`), undefined, {
      groups: c,
      padding: [reach, reach],
      dilation: [dilation, dilation],
    });
    const [gain, shift, mean, variance] = ['weight', 'bias', 'running_mean', 'running_var'].map((each) =>
      of(`${norm}.${each}`),
    ) as [Traced, Traced, Traced, Traced];
    for (let channel = 0; channel < c; channel++) {
      const value = ({ data }: Traced, at = channel) => data[at] as number;
      const scale = value(gain) / Math.sqrt(value(variance) + EPSILON);
      bias[channel] = (bias[channel] as number) + value(shift) - value(mean) * scale;
      for (let u = 0; u < taps; u++)
        for (let v = 0; v < taps; v++) {
          const first = (k - 1) / 2 - reach;
          const to = (channel * k + first + u * dilation) * k + first + v * dilation;
          weight[to] = (weight[to] as number) + scale * value(of(`${conv}.weight`), (channel * taps + u) * taps + v);
        }
    }
    return trace.batchNorm(y, gain, shift, mean, variance);
  });
  const out = parts.reduce((sum, part) => trace.add(sum, part));
  const learned = Object.fromEntries(Object.entries(traced).filter(([name]) => !/running/.test(name)));
  const merged = {
    'merged.weight': { shape: [c, 1, k, k], data: weight, gradient: weight },
    'merged.bias': { shape: [c], data: bias, gradient: bias },
  };
  return resultsOf(trace, { out, ...merged }, learned, gradOut);
}
