/** q, k and v of a layer of attention of a network on pictures. */
import { ParameterError } from '../errors';
import type { Model } from '../models/define';
import { watchProjections } from '../models/vision/layers';
import type { Parameters } from '../nn/module';
import { framed, normalized, type PictureSettings } from '../pictures/preprocess';
import type { Runtime } from '../runtime/runtime';
import type { DType } from '../tensor/dtype';
import type { HostTensor } from '../tensor/host';
import { formatShape } from '../tensor/shape';
import type { NamedPicture } from './image-inputs';
import type { DescribedInputs } from './inputs';

export interface NetworkOnPictures {
  readonly model: Model;
  readonly params: object;
  readonly parameters: Parameters;
  /** How it takes pictures; default: as the model does. */
  readonly settings?: PictureSettings | undefined;
  /** Whether the parameters are random ones. */
  readonly isRandom: boolean;
}

/**
 * Runs a picture through a network, in inference, up to a layer of attention, of which the first is 0: with the rows and columns of
 * its places, q, k and v [1, rows, columns, h, d]. A class token is left out.
 *
 * @throws {ParameterError} a network without attention, a layer that it does not have
 */
export async function networkInputs(
  runtime: Runtime,
  { model, params, parameters, settings: given, isRandom }: NetworkOnPictures,
  { name, picture }: NamedPicture,
  layer: number,
): Promise<DescribedInputs> {
  const settings = given ?? model.create(params as never).pictures;
  if (!settings) throw new ParameterError(`--model must be a network on pictures, got ${model.name}`);
  const network = model.network(model.parse(params as never));
  const frame = framed(picture, settings);
  const layers: Promise<HostTensor<DType>[]>[] = [];
  runtime.scope(() => {
    const x = runtime.fromHost(normalized(frame, settings));
    watchProjections(
      (all) => layers.push(layers.length === layer ? Promise.all(all.map((each) => each.toHost())) : NONE),
      () => {
        network.forward({ x } as never, parameters, {});
      },
    );
  });
  if (layers.length === 0)
    throw new ParameterError(
      `--model must be a network with attention, such as deit, biformer or l2vit, got ${model.name}`,
    );
  if (layer >= layers.length)
    throw new ParameterError(
      `--layer must be below the ${layers.length} layers of attention of ${model.name}, got ${layer}`,
    );
  const [q, k, v] = ((await layers[layer]) as HostTensor<DType>[]).map((each) => runtime.fromHost(onGrid(each)));
  const [, rows, columns, heads, d] = q!.shape as [number, number, number, number, number];
  const weights = isRandom ? ' Its weights are random, so that this shows cost and shapes only.' : '';
  return {
    inputs: { q: q!, k: k!, v: v! },
    description: `Layer ${layer} of attention of ${model.name} on ${name}: ${rows} × ${columns} tokens, ${heads} heads of ${d} dimensions.${weights}`,
    picture: frame,
  };
}

const NONE: Promise<HostTensor<DType>[]> = Promise.resolve([]);

/** Tokens in one row, the first of them the class token, as the square that the others are. */
function onGrid(x: HostTensor<DType>): HostTensor<DType> {
  const [b, rows, columns, h, d] = x.shape as [number, number, number, number, number];
  if (rows > 1) return x;
  const side = Math.sqrt(columns - 1);
  if (!Number.isInteger(side))
    throw new ParameterError(`tokens must be a square and a class token, got ${formatShape(x.shape)}`);
  return { ...x, data: x.data.slice(h * d), shape: [b, side, side, h, d] } as HostTensor<DType>;
}
