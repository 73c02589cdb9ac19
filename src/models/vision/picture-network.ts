/** What networks on pictures share: pictures come channels first, as checkpoints and their users have them. */
import * as valibot from 'valibot';
import type { ModuleControl, Parameters } from '../../nn/module';
import { type HostTensor, hostTensor } from '../../tensor/host';
import type { Tensor } from '../../tensor/tensor';
import { type Find, folded, type Layer } from './layers';

/** The param `classes`. */
export const classesParam = (preset: number) =>
  valibot.optional(
    valibot.pipe(
      valibot.number(),
      valibot.integer(),
      valibot.minValue(1),
      valibot.description('classes to choose from'),
    ),
    preset,
  );

export type PictureNetwork = Omit<ReturnType<typeof pictureNetwork>, 'ignored'>;

/** A network from x [b, c, rows, columns] to results by name, of a layer that computes channels last. */
export function networkOf<Out>(layer: Layer<Out>, ignored?: RegExp) {
  const lookUp =
    (parameters: Parameters): Find =>
    (name) =>
      parameters[name] as Tensor | undefined;
  return {
    parameters: layer.parameters,
    ...(ignored && { ignored }),
    fold: (parameters: Parameters) => folded(layer, lookUp(parameters)),
    forward: ({ x }: { readonly x: Tensor }, parameters: Parameters, control: ModuleControl) =>
      layer.forward(x.permute([0, 2, 3, 1]), lookUp(parameters), control),
  };
}

/** The same to logits [b, classes], of a layer that gives [b, 1, 1, classes]. */
export const pictureNetwork = (layer: Layer) =>
  networkOf({
    ...layer,
    forward: (x, find, control) => ({ logits: layer.forward(x, find, control).reshape([x.shape[0] as number, -1]) }),
  });

/** A disc on a ramp, [1, 3, size, size]. */
export function samplePicture(size: number): HostTensor<'f32'> {
  const at = (channel: number, row: number, column: number) =>
    Math.hypot(row - size / 2, column - size / 2) < size / 4 ? 1 - channel / 2 : (row + channel * column) / (3 * size);
  const places = Array.from({ length: 3 * size * size }, (_, i) =>
    at(Math.floor(i / size ** 2), Math.floor(i / size) % size, i % size),
  );
  return hostTensor(places, [1, 3, size, size], 'f32');
}
