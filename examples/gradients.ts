// Gradients of any composition of ops: a layer is fitted by steepest descent, one map for all parameters.
import { createRuntime, differentiate, layerNorm, map, matmul, mean } from 'saccade';

using runtime = await createRuntime();
const x = runtime.random([64, 16], { seed: 1 });
const wanted = matmul(layerNorm(x), runtime.random([16, 4], { seed: 2 }));
const parameters = { weight: runtime.random([4, 16], { seed: 3 }), bias: runtime.random([4], { seed: 4 }) };

for (let step = 0; step <= 60; step++) {
  const { loss, gradients } = differentiate(({ weight, bias }) => {
    const y = matmul(layerNorm(x), weight, { transposeB: true, bias });
    return mean(map((y, t) => (y - t) ** 2, y, wanted));
  }, parameters);
  if (step % 20 === 0) console.log(`step ${step}: loss ${(await loss.read())[0]!.toFixed(3)}`);

  // Written where the parameters lie; another rate would compile nothing again.
  const [weights, slopes] = [Object.values(parameters), Object.values(gradients)];
  map((p, g, { rate }) => p - rate * g, weights, slopes, { captured: { rate: 0.2 }, out: weights });
}

// Prints:
// step 0: loss 27.617
// step 20: loss 0.602
// step 40: loss 0.075
// step 60: loss 0.014
