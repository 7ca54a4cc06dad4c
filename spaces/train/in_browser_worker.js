// The network on the visitor's device, off the page's thread. The page hands over bytes whose checksums were verified.
let ort, session, input;

const steps = {
  // runtime, wasm, model: ArrayBuffer
  async open({ runtime, wasm, model }) {
    const address = URL.createObjectURL(new Blob([runtime], { type: "text/javascript" }));
    ort = await import(address);
    URL.revokeObjectURL(address);
    ort.env.logLevel = "error";
    ort.env.wasm.wasmBinary = wasm; // nothing more is asked of the network
    ort.env.wasm.numThreads = 1; // more need headers that would break other parts of the page
    session = await ort.InferenceSession.create(new Uint8Array(model), { executionProviders: ["wasm"] });
    [input] = session.inputMetadata;
    return {};
  },

  // bitmap: ImageBitmap. scores: probabilities in the order of the classes; milliseconds: of the network alone
  async classify({ bitmap }) {
    const planes = input.shape[1] === 3, side = input.shape[2];
    const pixels = squash(read(bitmap), bitmap.width, bitmap.height, side);
    bitmap.close();
    const whole = input.type === "uint8" ? new Uint8Array(pixels.length) : new Float32Array(pixels.length);
    const area = side * side;
    for (let at = 0; at < area; at++) {
      for (let c = 0; c < 3; c++) whole[planes ? c * area + at : at * 3 + c] = pixels[at * 3 + c];
    }
    const tensor = new ort.Tensor(input.type, whole, planes ? [1, 3, side, side] : [1, side, side, 3]);
    const began = performance.now();
    const [answer] = Object.values(await session.run({ [input.name]: tensor }));
    return { scores: Array.from(answer.data), milliseconds: performance.now() - began };
  },
};

// RGBA, transparent parts laid on white, as the server does it
function read(bitmap) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height).data;
}

// The whole picture squashed, bilinear with half-pixel centres and no antialiasing: lib/train/pictures.py, resize().
// RGBA in, RGB of whole numbers out.
function squash(rgba, width, height, side) {
  const across = between(width, side), down = between(height, side), out = new Uint8Array(side * side * 3);
  for (let y = 0, at = 0; y < side; y++) {
    const [top, bottom, dy] = down[y];
    for (let x = 0; x < side; x++) {
      const [left, right, dx] = across[x];
      for (let c = 0; c < 3; c++, at++) {
        const value = (row, column) => rgba[4 * (row * width + column) + c];
        const upper = value(top, left) + (value(top, right) - value(top, left)) * dx;
        const lower = value(bottom, left) + (value(bottom, right) - value(bottom, left)) * dx;
        out[at] = even(upper + (lower - upper) * dy);
      }
    }
  }
  return out;
}

function between(old, side) {
  return Array.from({ length: side }, (_, k) => {
    const place = Math.max((k + 0.5) * (old / side) - 0.5, 0), first = Math.min(Math.floor(place), old - 1);
    return [first, Math.min(first + 1, old - 1), place - first];
  });
}

// halves go to the even neighbour, as numpy rounds
function even(value) {
  const near = Math.round(value);
  return near - value === 0.5 && near % 2 ? near - 1 : near;
}

onmessage = async ({ data }) => {
  try {
    postMessage({ turn: data.turn, ...(await steps[data.step](data)) });
  } catch (error) {
    postMessage({ turn: data.turn, error: String(error?.message ?? error) });
  }
};
