/** ONNX graphs of many nodes, in the protobuf messages of onnx.proto. */
import { field, integer, join, tensorOf, text } from './onnx-products.mjs';

const FLOAT = 1;

/** Nodes and weights, added one after the other. */
export class Graph {
  #nodes = [];
  #weights = [];
  #count = 0;

  /** The name of its only result; attributes are numbers, of which `floats` names those that are no integers, or lists of integers. */
  node(operator, inputs, attributes = {}, { domain = '', floats = [], output = `t${this.#count++}` } = {}) {
    const named = Object.entries(attributes).map(([name, value]) =>
      field(5, attribute(name, value, floats.includes(name))),
    );
    this.#nodes.push(
      join([...inputs.map((each) => text(1, each)), text(2, output), text(4, operator), ...named, text(7, domain)]),
    );
    return output;
  }

  weight(name, data, shape) {
    this.#weights.push(tensorOf(name, { type: 'float32', shape, data }));
    return name;
  }

  /** A list of integers. */
  list(values) {
    const name = `s${this.#count++}`;
    const data = Buffer.from(BigInt64Array.from(values, BigInt).buffer);
    this.#weights.push(join([integer(1, values.length), integer(2, 7), text(8, name), field(9, data)]));
    return name;
  }

  model(inputs, outputs) {
    const values = (number, shapes) =>
      Object.entries(shapes).map(([name, shape]) => field(number, floatsOf(name, shape)));
    const graph = join([
      ...this.#nodes.map((node) => field(1, node)),
      text(2, 'network'),
      ...this.#weights.map((weight) => field(5, weight)),
      ...values(11, inputs),
      ...values(12, outputs),
    ]);
    const opset = (domain, version) => field(8, join([text(1, domain), integer(2, version)]));
    return new Uint8Array(join([integer(1, 8), field(7, graph), opset('', 17), opset('com.microsoft', 1)]));
  }
}

function attribute(name, value, isFloat) {
  if (Array.isArray(value)) return join([text(1, name), ...value.map((each) => integer(8, each)), integer(20, 7)]);
  if (!isFloat) return join([text(1, name), integer(3, value), integer(20, 2)]);
  return join([text(1, name), Buffer.from([0x15]), Buffer.from(new Float32Array([value]).buffer), integer(20, 1)]);
}

function floatsOf(name, shape) {
  const dimensions = join(shape.map((extent) => field(1, integer(1, extent))));
  return join([text(1, name), field(2, field(1, join([integer(1, FLOAT), field(2, dimensions)])))]);
}
