import { encode } from 'fast-png';
import { Unzlib, zlibSync } from 'fflate';
import { describe, expect, test, vi } from 'vitest';
import { expectClose } from '../../test/expect';
import fixture from '../../test/fixtures/pictures.json';
import { decodePicture } from './decode';
import { CITYSCAPES, imageNetNames } from './names';
import { cropTo } from './picture';
import { framed, normalized, preprocess } from './preprocess';

describe('decodePicture', () => {
  const png = (channels: number, data: Uint8Array | Uint16Array, depth: 8 | 16 = 8) =>
    decodePicture('p.png', encode({ width: 2, height: 1, channels, data, depth }));

  test.each([
    ['colour', 3, [255, 0, 51, 0, 102, 255], [1, 0, 0.2, 0, 0.4, 1]],
    ['grey', 1, [0, 51], [0, 0, 0, 0.2, 0.2, 0.2]],
    ['grey on white', 2, [0, 255, 0, 51], [0, 0, 0, 0.8, 0.8, 0.8]],
    ['colour on white', 4, [255, 0, 0, 255, 255, 0, 0, 0], [1, 0, 0, 1, 1, 1]],
  ])('reads %s', async (_, channels, bytes, rgb) => {
    const picture = await png(channels, Uint8Array.from(bytes));
    expect([picture.width, picture.height]).toEqual([2, 1]);
    expectClose(picture.rgb, rgb, 1e-6);
  });

  test('reads 16 bits', async () => {
    expectClose((await png(1, Uint16Array.of(0, 13107), 16)).rgb, [0, 0, 0, 0.2, 0.2, 0.2], 1e-6);
  });

  test('reads bits and palettes', async () => {
    // Written by hand: 9 x 1 pixels of one bit, alternating, without and with a palette.
    expectClose(
      (await decodePicture('p.png', pixelBits())).rgb.filter((_, at) => at % 3 === 0),
      [1, 0, 1, 0, 1, 0, 1, 0, 1],
      0,
    );
    expectClose((await decodePicture('p.png', pixelBits({ colourType: 3 }))).rgb.subarray(0, 6), [0, 0, 1, 1, 0, 0], 0);
  });

  test.each(Object.entries(fixture.read))('reads %s as PIL does', async (name, { file, size, rgb }) => {
    const picture = await decodePicture(name, bytesOf(file));
    expect([picture.width, picture.height]).toEqual(size);
    // Fast transforms of both decoders round, and colours of a quarter of the places are spread otherwise.
    const tolerance = name === 'webp with losses' ? 4 : name.startsWith('jpeg') ? 3 : 0.51;
    expectClose(
      picture.rgb,
      Array.from(bytesOf(rgb), (value) => value / 255),
      tolerance / 255,
    );
  });

  const [jpeg, webp] = [fixture.read.jpeg, fixture.read.webp].map(({ file }) => bytesOf(file)) as [
    Uint8Array,
    Uint8Array,
  ];
  const whole = encode({ width: 9, height: 9, channels: 1, data: new Uint8Array(81) });
  const damaged = whole.slice();
  damaged[50] = (damaged[50] as number) ^ 1;
  test.each([
    [new Uint8Array(), 'p is neither a PNG, a JPEG nor a WebP file'],
    [Uint8Array.of(0xff, 0xd8, 1, 2, 3), 'p cannot be decoded: it is cut short, after 5 bytes'],
    [jpeg.subarray(0, -20), /p cannot be decoded: it is cut short, after \d+ bytes/],
    // The components of its scan are none of its frame.
    [withFrame(jpeg, 6, 77), 'p cannot be decoded: it is damaged'],
    [withFrame(jpeg, 0, 12), 'p cannot be decoded: it has 12 bits for a colour, not 8'],
    [
      withFrame(jpeg, 1, 0x27, 0x10, 0x27, 0x10),
      'p cannot be decoded: it has 100 megapixels, and pictures must have fewer',
    ],
    [withFrame(jpeg, -3, 0xc3), 'p cannot be decoded: it is compressed in a way that only few programs read'],
    [webp.subarray(0, -8), /p cannot be decoded: it is cut short, after \d+ bytes/],
    [bytesOf(fixture.moving), 'p cannot be decoded: it moves'],
    [whole.subarray(0, 12), 'p cannot be decoded: it is cut short, after 12 bytes'],
    [whole.subarray(0, 45), 'p cannot be decoded: it is cut short, after 45 bytes'],
    [damaged, /p cannot be decoded: its chunk 'IDAT' is damaged: checksum \d+, expected \d+/],
    [pixelBits({ width: 0 }), 'p cannot be decoded: it has no pixels'],
    [
      pixelBits({ width: 2 ** 30 }),
      /p cannot be decoded: it has 1073.* megapixels, and pictures must have fewer than 100/,
    ],
    [pixelBits({ colourType: 5 }), 'p cannot be decoded: it has an unknown colour type, 5'],
    [pixelBits({ depth: 200 }), 'p cannot be decoded: it has 200 bits for a colour'],
    [pixelBits({ width: 17 }), 'p cannot be decoded: its pixels take 4 bytes, but only 3 were compressed'],
  ])('refuses %s', async (bytes, message) => {
    await expect(decodePicture('p', bytes)).rejects.toThrow(message);
  });

  test('inflates no more than its header declares', async () => {
    const bomb = pixelBits({ rows: new Uint8Array(2 ** 24) });
    const push = vi.spyOn(Unzlib.prototype, 'push');
    await expect(decodePicture('p', bomb)).rejects.toThrow('its pixels take 3 bytes, but more were compressed');
    expect(push).toHaveBeenCalledTimes(1);
    push.mockRestore();
    // And nothing of what pixels do not follow from: this colour profile would be a fault if it were read.
    expect((await decodePicture('p', pixelBits({ more: chunk('iCCP', [0, 0, 1, 2, 3]) }))).width).toBe(9);
  });

  test('reads interlaced pictures', async () => {
    // 3 x 3 pixels in Adam7's order: the passes have 1, 0, 0, 1, 2, 2 and 3 of them.
    const pass = (...pixels: number[]) => [0, ...pixels];
    const rows = [pass(0), pass(2), pass(6, 8), pass(1), pass(7), pass(3, 4, 5)].flat();
    const interlaced = pixelBits({ width: 3, height: 3, depth: 8, interlace: 1, rows: Uint8Array.from(rows) });
    const greys = (await decodePicture('p', interlaced)).rgb.filter((_, at) => at % 3 === 0);
    expectClose(
      greys,
      [0, 1, 2, 3, 4, 5, 6, 7, 8].map((grey) => grey / 255),
      1e-6,
    );
  });
});

describe('what networks are given', () => {
  test.each(fixture.frames)('$width x $height is resized and cropped to $size as by torchvision', (each) => {
    const { width, height, size, crop, rgb } = each;
    const colours = Float32Array.from({ length: 3 * width * height }, (_, at) => {
      const [x, y, c] = [Math.floor(at / 3) % width, Math.floor(at / 3 / width), at % 3];
      return Math.round(127.5 + 127.4 * Math.sin(0.31 * x + 0.17 * y + 1.3 * c)) / 255;
    });
    const interpolation = each.interpolation as 'bicubic' | 'bilinear';
    const frame = framed({ width, height, rgb: colours }, { size, crop, interpolation, mean: [], std: [] });
    expectClose(
      frame.rgb,
      Array.from(bytesOf(rgb), (value) => value / 255),
      1.01 / 255,
    );
  });

  test('is normalised, and grey where there is one mean', () => {
    const picture = { width: 2, height: 1, rgb: Float32Array.of(1, 0.5, 0, 0, 0.25, 1) };
    const settings = { interpolation: 'bilinear', mean: [0.5, 0.5, 0], std: [0.5, 0.25, 1] } as const;
    const { shape, data } = preprocess(picture, settings);
    expect(shape).toEqual([1, 3, 1, 2]);
    expectClose(data, [1, -1, 0, -1, 0, 1], 1e-6);
    expectClose(normalized(picture, { ...settings, mean: [0], std: [1] }).data, [0.5925, 0.26075], 1e-6);
    expect(() => preprocess(picture, { ...settings, mean: [0, 0], std: [1, 1] })).toThrow(
      'mean and std must be 1 or 3',
    );
    const whole = framed({ width: 17, height: 5, rgb: new Float32Array(255) }, { ...settings, multipleOf: 8 });
    expect([whole.width, whole.height]).toEqual([16, 8]);
  });

  test('has classes with names', async () => {
    const names = await imageNetNames();
    expect(names).toHaveLength(1000);
    expect([names[0], names[999]]).toEqual(['tench, Tinca tinca', 'toilet tissue, toilet paper, bathroom tissue']);
    expect(CITYSCAPES).toHaveLength(19);
  });
});

describe('cropTo', () => {
  const ramp = (width: number, height: number) => ({
    width,
    height,
    rgb: Float32Array.from({ length: width * height * 3 }, (_, at) => Math.floor(at / 3) % width),
  });

  test('takes the middle and means over areas', () => {
    // 9 columns to 3 of 2 x 2 pixels: columns 1.5 to 7.5.
    const { rgb } = cropTo(ramp(9, 2), 3, 1);
    expectClose(
      rgb.filter((_, at) => at % 3 === 0),
      [2, 4, 6],
      1e-6,
    );
  });

  test('keeps a picture of the size asked for, and repeats the pixels of a smaller one', () => {
    expect(cropTo(ramp(5, 3), 5, 3)).toEqual(ramp(5, 3));
    expectClose(
      cropTo(ramp(2, 1), 4, 2).rgb.filter((_, at) => at % 3 === 0),
      [0, 0, 1, 1, 0, 0, 1, 1],
      1e-6,
    );
  });
});

const bytesOf = (base64: string) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

/** A JPEG whose frame has other bytes, from this one after its length on. */
function withFrame(jpeg: Uint8Array, at: number, ...bytes: readonly number[]): Uint8Array {
  const forged = jpeg.slice();
  const frame = forged.findIndex((byte, place) => byte === 0xff && forged[place + 1] === 0xc0);
  forged.set(bytes, frame + 4 + at);
  return forged;
}

interface Forgery {
  readonly width?: number;
  readonly height?: number;
  readonly depth?: number;
  readonly colourType?: number;
  readonly interlace?: 0 | 1;
  /** With a byte for its filter before each row. */
  readonly rows?: Uint8Array;
  readonly more?: readonly number[];
}

/** A PNG of 9 x 1 pixels of one bit, 101010101, or what it is made to say. */
function pixelBits({
  width = 9,
  height = 1,
  depth = 1,
  colourType = 0,
  interlace = 0,
  rows = Uint8Array.of(0, 0b10101010, 0b10000000),
  more = [],
}: Forgery = {}): Uint8Array {
  const header = [...bigEndian(width), ...bigEndian(height), depth, colourType, 0, 0, interlace];
  return Uint8Array.from([
    ...[0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a],
    ...chunk('IHDR', header),
    ...more,
    ...(colourType === 3 ? chunk('PLTE', [255, 0, 0, 0, 0, 255]) : []),
    ...chunk('IDAT', [...zlibSync(rows)]),
    ...chunk('IEND', []),
  ]);
}

function chunk(name: string, data: number[]): number[] {
  const body = Array.from(name, (letter) => letter.charCodeAt(0)).concat(data);
  return [...bigEndian(data.length), ...body, ...bigEndian(crc(body))];
}

function bigEndian(value: number): number[] {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255);
}

function crc(bytes: readonly number[]): number {
  let sum = ~0;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return ~sum;
}
