/** What the pages of models open on: a picture that the networks did not learn from, and what those with published weights make of it. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type NetworkRow, summaries } from '../../scripts/network-rows';
import { type LookOptions, lookAt, lookConfig } from '../../src/look/look';
import type { Sight } from '../../src/look/sights';
import { paramsJsonSchema } from '../../src/methods/params-json-schema';
import type { Model } from '../../src/models/define';
import { models } from '../../src/models/registry';
import { createRuntime } from '../../src/ops/create-runtime';
import { decodePicture, type Picture, type PictureSettings, preprocess } from '../../src/pictures';
import type { Runtime } from '../../src/runtime/runtime';
import type { DType } from '../../src/tensor/dtype';
import { type HostTensor, toFloat64 } from '../../src/tensor/host';
import { sizeOf } from '../../src/tensor/shape';
import { streets } from '../../src/train/streets';
import { isPicture, MOST_PLANES } from '../site/shown';
import type { Published } from '../site/tasks/model';
import { writeSights } from './looks';
import { ROOT } from './standing';

/** Digits of the numbers, which are looked at. */
const DIGITS = 4;

const BOOT = 'docs/networks/ankle-boot.png';
const CLOTHES = {
  said: 'The first picture of the test set of Fashion-MNIST, an ankle boot: no network learned from it.',
  data: 'fashion',
  picture: await decodePicture(BOOT, readFileSync(resolve(ROOT, BOOT))),
};
const STREETS = { said: 'A drawn street that the network did not learn from.', picture: drawnStreet(), data: 'street' };

function drawnStreet(): Picture {
  const { shape, pixels } = streets({ count: 1, rows: 64, columns: 128, seed: 1 });
  return { height: shape[1], width: shape[2], rgb: Float32Array.from(pixels, (value) => value / 255) };
}

const NETWORKS = 'docs/networks/networks.json';
const { rows } = JSON.parse(readFileSync(resolve(ROOT, NETWORKS), 'utf8')) as { rows: NetworkRow[] };
const measured = summaries(rows);

using runtime = await createRuntime({ backend: 'wasm' });
/** By the names of the models. */
export const openings = new Map(
  await Promise.all(models.map(async (model) => [model.name, await openingOf(runtime, model)] as const)),
);
export type Opening = NonNullable<Awaited<ReturnType<typeof openingOf>>>;

async function openingOf(runtime: Runtime, model: Model) {
  const { name, published, sample } = model;
  const hasFeatures = 'features' in (paramsJsonSchema(model.params).properties ?? {});
  const params = { ...(published?.params ?? sample().params), ...(hasFeatures && { features: true }) };
  const created = model.create(params);
  const inputs: Record<string, HostTensor> = { ...sample().inputs };
  const { tensors, config } = (await published?.load()) ?? {};
  const { said, picture, data } = name === 'bevanet' ? STREETS : CLOTHES;
  const isOfPictures = isPicture(Object.values(model.inputs)[0]);
  const settings = lookConfig(config).settings ?? created.pictures;
  if (isOfPictures) inputs.x = preprocess(picture, settings as PictureSettings);
  const stored: Published = { params, ...(isOfPictures && { inputs: { x: rounded(inputs.x) } }) };
  if (!tensors) return { params, stored };
  const parameters = created.load(runtime, tensors);
  const given = Object.entries(inputs).map(([key, host]) => [key, runtime.fromHost(host as HostTensor<DType>)]);
  const results = Object.entries(await created.infer(Object.fromEntries(given), parameters)).map(
    async ([key, result]) => [key, rounded(await result.toHost())] as const,
  );
  const all: Published = { ...stored, results: Object.fromEntries(await Promise.all(results)) };
  if (!isOfPictures) return { params, stored: all };
  const options: LookOptions = { ...lookConfig(config), params: published!.params, parameters };
  const { classes, sights } = await lookAt(runtime, model, picture, options);
  const weights = readFileSync(resolve(ROOT, `src/models/vision/trained/${name}/model.safetensors`));
  const bytes = gzipSync(weights).length;
  const { mean } = measured.find((row) => row.model === name && row.data === data)!;
  // Rows of pictures have no place beside others.
  const wide = ({ picture }: Sight) => Number(picture.width > 2 * picture.height);
  const written = writeSights(
    name,
    [...sights].sort((a, b) => wide(a) - wide(b)),
  );
  return { params, stored: all, look: { said, classes, sights: written, bytes, mean } };
}

/** As much of it as is shown. */
function rounded(host: HostTensor) {
  const { shape } = host;
  const size = shape.length === 4 ? MOST_PLANES * shape[2] * shape[3] : sizeOf(shape);
  const data = Array.from(toFloat64(host).subarray(0, size), (value) => Number(value.toPrecision(DIGITS)));
  return { shape, data };
}
