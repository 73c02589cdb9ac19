/** The reference backend: plain loops in float64. Slow on purpose. */
import { BackendError } from '../../errors';
import { type DType, type HostDType, isFloat, type TypedArray, typedArray } from '../../tensor/dtype';
import type { Elements } from '../../tensor/elements';
import { convert, type HostTensor, toRowMajor } from '../../tensor/host';
import type { Backend, Control } from '../backend';
import { checkExpectations } from '../expectations';
import type { Buffer, MemoryReport } from '../memory';
import type { Host, Op } from '../op';
import { loaded, type Pause } from '../order';

/** Floating-point elements are stored in float64, so that nothing is rounded between ops. */
class ReferenceBuffer implements Buffer {
  readonly data: TypedArray;
  readonly held: HostDType;

  constructor(
    readonly bytes: number,
    readonly dtype: DType,
  ) {
    this.held = isFloat(dtype) ? 'f64' : dtype;
    this.data = typedArray(this.held, bytes / typedArray(dtype, 0).BYTES_PER_ELEMENT);
  }
}

export class ReferenceBackend implements Backend {
  readonly name = 'reference';
  #live = 0;
  #peak = 0;

  allocate(bytes: number, dtype: DType): Buffer {
    try {
      const buffer = new ReferenceBuffer(bytes, dtype);
      this.#live += bytes;
      this.#peak = Math.max(this.#peak, this.#live);
      return buffer;
    } catch {
      throw new BackendError(
        `cannot allocate ${bytes} bytes (${this.#live} are live): more than the platform allows in one ArrayBuffer`,
      );
    }
  }

  release(buffer: Buffer): void {
    this.#live -= buffer.bytes;
  }

  write(buffer: Buffer, bytes: Uint8Array, byteOffset = 0): void {
    const { data, dtype, held } = buffer as ReferenceBuffer;
    const { BYTES_PER_ELEMENT } = typedArray(dtype, 0);
    const length = bytes.length / BYTES_PER_ELEMENT;
    const copied = bytes.byteOffset % BYTES_PER_ELEMENT === 0 ? bytes : bytes.slice();
    const values = typedArray(dtype, length, copied.buffer, copied.byteOffset);
    (data as Float64Array).set(
      convert({ dtype, shape: [length], data: values }, held).data as Float64Array,
      byteOffset / BYTES_PER_ELEMENT,
    );
  }

  async read(buffer: Buffer, byteOffset: number, length: number): Promise<Uint8Array> {
    const { data, dtype, held } = buffer as ReferenceBuffer;
    const { BYTES_PER_ELEMENT } = typedArray(dtype, 0);
    const elements = data.slice(byteOffset / BYTES_PER_ELEMENT, (byteOffset + length) / BYTES_PER_ELEMENT);
    const values = convert({ dtype: held, shape: [elements.length], data: elements }, dtype).data;
    return new Uint8Array(values.buffer as ArrayBuffer, values.byteOffset, values.byteLength);
  }

  known(x: Elements): HostTensor {
    const { held } = x.storage.buffer as ReferenceBuffer;
    const { shape, data } = host.tensor(x);
    return held === 'f64' ? { dtype: 'f64', shape, data } : convert({ dtype: 'f64', shape, data }, x.dtype);
  }

  *run<Call>(op: Op<Call>, call: Call, { signal, onProgress }: Control): Generator<Pause, undefined, void> {
    const reference = yield* loaded(op.reference);
    signal?.throwIfAborted();
    reference(call, host);
    checkExpectations(op, call, host.numbers);
    onProgress?.(1);
  }

  memory(): MemoryReport {
    return { live: this.#live, peak: this.#peak, reserved: this.#live };
  }

  resetPeak(): void {
    this.#peak = this.#live;
  }

  explain(): readonly string[] {
    return [
      'backend: reference (plain loops in float64, the truth that other backends are tested against)',
      'threads: 1',
    ];
  }

  dispose(): void {
    this.#live = 0;
  }
}

const host: Host = {
  numbers: (x) => host.tensor(x).data,

  tensor({ storage, shape, strides, offset }) {
    const { data, held } = storage.buffer as ReferenceBuffer;
    const elements = toRowMajor(data.subarray(offset) as Float64Array, held as 'f64', shape, strides);
    return { dtype: 'f64', shape, data: convert({ dtype: held, shape, data: elements }, 'f64').data };
  },

  store({ storage, offset }, values) {
    ((storage.buffer as ReferenceBuffer).data as Float64Array).set(values, offset);
  },

  storeAt({ storage, offset }, place, value) {
    (storage.buffer as ReferenceBuffer).data[offset + place] = value;
  },
};
