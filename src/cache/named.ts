/** Tensors of a file under a prefix of their names. */
import { ParameterError } from '../errors';
import { checkHost, type HostTensor } from '../tensor/host';
import { formatShape, sameShape } from '../tensor/shape';

type Tensors = Readonly<Record<string, HostTensor>>;

/** The same under names that begin so. */
export const prefixed = (prefix: string, tensors: Tensors): Tensors =>
  Object.fromEntries(Object.entries(tensors).map(([name, host]) => [`${prefix}${name}`, host]));

/** Those whose names begin so, without it. */
export const partOf = (prefix: string, tensors: Tensors): Tensors =>
  Object.fromEntries(
    Object.entries(tensors).flatMap(([name, host]) =>
      name.startsWith(prefix) ? [[name.slice(prefix.length), host]] : [],
    ),
  );

/** The numbers of a tensor of a file, of this shape; of rank 1 and any length without one. */
export function numbersIn(
  saved: Readonly<Record<string, HostTensor>>,
  name: string,
  shape: readonly number[],
): Int32Array {
  const host = saved[name];
  if (host === undefined) throw new ParameterError(`saved must have '${name}', as save() gives it`);
  checkHost(`${name} of saved`, host);
  const fits = shape.length === 0 ? host.shape.length === 1 : sameShape(host.shape, shape);
  if (host.dtype !== 'i32' || !fits)
    throw new ParameterError(
      `${name} of saved must be i32 ${shape.length === 0 ? 'of rank 1' : formatShape(shape)}, got ${host.dtype} ${formatShape(host.shape)}`,
    );
  return host.data as Int32Array;
}
