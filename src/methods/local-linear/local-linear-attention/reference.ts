/** What `local-linear-attention` computes: the regression of each row in float64, by the names of the method's inputs. */
import { localLinear, localLinearBackward } from '../../../ops/local-linear/regression';
import type { HostTensor } from '../../../tensor/host';

interface Inputs {
  readonly q: HostTensor;
  readonly k: HostTensor;
  readonly v: HostTensor;
  readonly ridge_rows?: HostTensor;
}

interface Params {
  readonly ridge: number;
  readonly causal: boolean;
  readonly scale?: number | undefined;
}

export function reference(
  { ridge_rows: ridgeRows, ...qkv }: Inputs,
  { ridge, causal, scale = 1 / Math.sqrt(qkv.q.shape[3] as number) }: Params,
  gradOut?: HostTensor,
): Record<string, HostTensor<'f64'>> {
  const inputs = { ...qkv, ridgeRows };
  const settings = { ridge, causal, scale };
  const { out } = localLinear(inputs, settings);
  if (!gradOut) return { out };
  const { gradQ, gradK, gradV, gradRidgeRows } = localLinearBackward(inputs, gradOut, settings);
  return {
    out,
    grad_q: gradQ,
    grad_k: gradK,
    grad_v: gradV,
    ...(ridgeRows && { grad_ridge_rows: gradRidgeRows }),
  };
}
