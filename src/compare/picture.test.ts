import { encode } from 'fast-png';
import { zlibSync } from 'fflate';
import { encode as encodeJpeg } from 'jpeg-js';
import { describe, expect, test } from 'vitest';
import { expectClose } from '../../test/expect';
import { cropTo, decodePicture } from './picture';

describe('decodePicture', () => {
  const png = (channels: number, data: Uint8Array | Uint16Array, depth: 8 | 16 = 8) =>
    decodePicture('p.png', encode({ width: 2, height: 1, channels, data, depth }));

  test.each([
    ['colour', 3, [255, 0, 51, 0, 102, 255], [1, 0, 0.2, 0, 0.4, 1]],
    ['grey', 1, [0, 51], [0, 0, 0, 0.2, 0.2, 0.2]],
    ['grey on white', 2, [0, 255, 0, 51], [0, 0, 0, 0.8, 0.8, 0.8]],
    ['colour on white', 4, [255, 0, 0, 255, 255, 0, 0, 0], [1, 0, 0, 1, 1, 1]],
  ])('reads %s', (_, channels, bytes, rgb) => {
    const picture = png(channels, Uint8Array.from(bytes));
    expect([picture.width, picture.height]).toEqual([2, 1]);
    expectClose(picture.rgb, rgb, 1e-6);
  });

  test('reads 16 bits', () => {
    expectClose(png(1, Uint16Array.of(0, 13107), 16).rgb, [0, 0, 0, 0.2, 0.2, 0.2], 1e-6);
  });

  test('reads bits and palettes', () => {
    // Written by hand: 9 x 1 pixels of one bit, alternating, without and with a palette.
    expectClose(
      decodePicture('p.png', onePixelBits(0)).rgb.filter((_, at) => at % 3 === 0),
      [1, 0, 1, 0, 1, 0, 1, 0, 1],
      0,
    );
    expectClose(decodePicture('p.png', onePixelBits(3)).rgb.subarray(0, 6), [0, 0, 1, 1, 0, 0], 0);
  });

  test('reads a JPEG', () => {
    const data = new Uint8Array(16 * 16 * 4).fill(200);
    const { width, height, rgb } = decodePicture(
      'p.jpg',
      new Uint8Array(encodeJpeg({ width: 16, height: 16, data }, 100).data),
    );
    expect([width, height]).toEqual([16, 16]);
    expectClose(rgb, new Float32Array(16 * 16 * 3).fill(200 / 255), 0.01);
  });

  const whole = encode({ width: 9, height: 9, channels: 1, data: new Uint8Array(81) });
  const none = whole.slice();
  new DataView(none.buffer).setUint32(16, 0);
  const huge = whole.slice();
  new DataView(huge.buffer).setUint32(16, 2 ** 30);
  test.each([
    [new Uint8Array(), 'p is neither a PNG nor a JPEG file'],
    [Uint8Array.of(0xff, 0xd8, 1, 2, 3), 'p cannot be decoded: '],
    [whole.subarray(0, 12), 'p cannot be decoded: '],
    [whole.subarray(0, 45), 'p cannot be decoded: '],
    [none, 'p cannot be decoded: it has no pixels'],
    [huge, /p cannot be decoded: it has \d+.* of at most 100 megapixels/],
  ])('refuses %s', (bytes, message) => {
    expect(() => decodePicture('p', bytes)).toThrow(message);
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

/** A PNG of 9 x 1 pixels of one bit, 101010101. */
function onePixelBits(colourType: 0 | 3): Uint8Array {
  const chunk = (name: string, data: number[]) => {
    const body = [...name].map((letter) => letter.charCodeAt(0)).concat(data);
    return [...bigEndian(data.length), ...body, ...bigEndian(crc(body))];
  };
  const header = [...bigEndian(9), ...bigEndian(1), 1, colourType, 0, 0, 0];
  const rows = [...zlibSync(Uint8Array.of(0, 0b10101010, 0b10000000))];
  return Uint8Array.from([
    ...[0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a],
    ...chunk('IHDR', header),
    ...(colourType === 3 ? chunk('PLTE', [255, 0, 0, 0, 0, 255]) : []),
    ...chunk('IDAT', rows),
    ...chunk('IEND', []),
  ]);
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
