/** Products of features by plain loops in float64, in complex numbers where they are complex. */
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { addTo, dot, rowOf, tensor, type Wide, zeros } from '../../reference';

interface Params {
  readonly activation: string;
  readonly floor: number;
  readonly split: 'asymmetric' | 'symmetric';
}

type Inputs = Readonly<Record<'x' | 'w' | 'projections', HostTensor>> &
  Readonly<Partial<Record<'bias' | 'signs', HostTensor | undefined>>>;

/** A sum of waves, one for each projection, and what is added to their mean; pinned cosines are cos t - 1. */
interface Waves {
  readonly frequencies: Float64Array;
  readonly cosines: Float64Array;
  readonly sines: Float64Array;
  readonly isPinned: boolean;
  readonly constant: number;
  readonly linear: number;
}

/** The term of one projection, and its derivatives by g x, g w, |x|^2, |w|^2 and b. */
type Term = readonly [value: number, byX: number, byW: number, byXX: number, byWW: number, byBias: number];

/** out = mean over projections g of Psi_g(x) Phi_g(w, b). */
export function reference(
  { x, w, projections, bias, signs }: Inputs,
  params: Params,
  waves?: Waves,
  gradOut?: HostTensor,
): Record<string, Wide> {
  const [b, d] = x.shape as [number, number];
  const [l, r] = [w.shape[0] as number, projections.shape[0] as number];
  const [points, weights, directions] = [x, w, projections].map(toFloat64) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const shifts = bias && toFloat64(bias);
  const turns = signs && toFloat64(signs);
  const byOut = gradOut && toFloat64(gradOut);
  const out = zeros([b, l]);
  const [gradX, gradW, gradG] = [zeros([b, d]), zeros([l, d]), zeros([r, d])];
  const gradBias = new Float64Array(l);
  for (let i = 0; i < b; i++) {
    for (let j = 0; j < l; j++) {
      const [own, weight] = [rowOf(points, i, d), rowOf(weights, j, d)];
      for (let k = 0; k < r; k++) {
        const g = rowOf(directions, k, d);
        const given = { gx: dot(g, own), gw: dot(g, weight), xx: dot(own, own), ww: dot(weight, weight) };
        const shift = shifts?.[j] ?? 0;
        const [value, byX, byW, byXX, byWW, byBias] = waves
          ? waveTerm(given, shift, waves, k)
          : termOf(given, shift, turns?.[k] ?? 1, params);
        out.data[i * l + j]! += value / r;
        if (!byOut) continue;
        const by = byOut[i * l + j]! / r;
        addTo(rowOf(gradX.data, i, d), g, by * byX);
        addTo(rowOf(gradX.data, i, d), own, 2 * by * byXX);
        addTo(rowOf(gradW.data, j, d), g, by * byW);
        addTo(rowOf(gradW.data, j, d), weight, 2 * by * byWW);
        addTo(rowOf(gradG.data, k, d), own, by * byX);
        addTo(rowOf(gradG.data, k, d), weight, by * byW);
        gradBias[j]! += by * byBias;
      }
      if (!waves) continue;
      const { constant, linear } = waves;
      out.data[i * l + j]! += constant + linear * (dot(own, weight) + (shifts?.[j] ?? 0));
      if (!byOut) continue;
      addTo(rowOf(gradX.data, i, d), weight, linear * byOut[i * l + j]!);
      addTo(rowOf(gradW.data, j, d), own, linear * byOut[i * l + j]!);
      gradBias[j]! += linear * byOut[i * l + j]!;
    }
  }
  if (!byOut) return { out };
  return {
    out,
    grad_x: gradX,
    grad_w: gradW,
    grad_projections: gradG,
    ...(bias && { grad_bias: tensor(gradBias, [l]) }),
  };
}

interface Given {
  readonly gx: number;
  readonly gw: number;
  readonly xx: number;
  readonly ww: number;
}

function termOf({ gx, gw, xx, ww }: Given, bias: number, sign: number, { activation, floor, split }: Params): Term {
  if (activation === 'relu') {
    const [a, c] = [Math.max(gx, floor), Math.max(gw, floor)];
    return [a * c, gx > floor ? c : 0, gw > floor ? a : 0, 0, 0, 0];
  }
  if (activation === 'exp') {
    const value = Math.exp(gx - xx / 2 + gw - ww / 2 + bias);
    return [value, value, value, -value / 2, -value / 2, value];
  }
  // exp(size + i angle), of which cos takes the real part; sin has the weight sign / i in front.
  const half = Math.SQRT1_2;
  const [size, angle, sizes, angles] =
    split === 'asymmetric'
      ? [xx / 2 + gw - ww / 2, sign * (gx + bias), [0, 1, 0.5, -0.5, 0], [sign, 0, 0, 0, sign]]
      : [
          half * (gx + gw),
          sign * (half * (gx + gw) - xx / 2 - ww / 2 + bias),
          [half, half, 0, 0, 0],
          [sign * half, sign * half, -sign / 2, -sign / 2, sign],
        ];
  const [real, imaginary] = [Math.exp(size) * Math.cos(angle), Math.exp(size) * Math.sin(angle)];
  const [value, turned] = activation === 'cos' ? [real, -imaginary] : [sign * imaginary, sign * real];
  return [value, ...sizes.map((each, at) => value * each + turned * angles[at]!)] as unknown as Term;
}

/** e^(g w - |w|^2 / 2) times c (Re e^z - 1 if pinned) + s Im e^z, z = f^2 |x|^2 / 2 + i f (g x + b). */
function waveTerm({ gx, gw, xx, ww }: Given, bias: number, waves: Waves, k: number): Term {
  const [f, c, s] = [waves.frequencies[k]!, waves.cosines[k]!, waves.sines[k]!];
  const weight = Math.exp(gw - ww / 2);
  const [size, angle] = [weight * Math.exp((f * f * xx) / 2), f * (gx + bias)];
  const [real, imaginary] = [size * Math.cos(angle), size * Math.sin(angle)];
  const waving = c * real + s * imaginary;
  const value = waving - (waves.isPinned ? c * weight : 0);
  const byAngle = f * (s * real - c * imaginary);
  return [value, byAngle, value, ((f * f) / 2) * waving, -value / 2, byAngle];
}
