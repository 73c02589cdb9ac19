/** Tensors of a file under a prefix of their names. */
import type { HostTensor } from '../tensor/host';

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
