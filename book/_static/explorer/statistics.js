// Gaps between two speaker groups from per-speaker sums: the same numbers as fairlib.group_bias, in the reader's browser.
// Every step here names the function of fairlib.bias that it follows; a browser test holds the two equal.
(function (root) {
  "use strict";

  const RESAMPLES = 2000;
  const TAIL = 0.025;
  const Z = -1.959963984540054; // the standard normal's quantile at TAIL

  // ---- random numbers: numpy's PCG64 and its ziggurat for exponentials (McFarland's tables are of Marsaglia and Tsang) ----

  const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;
  const MASK64 = 0xffffffffffffffffn;
  const R = 7.69711747013104972;
  const AREA = 0.0039496598225815571993;
  const TABLES = ziggurat();

  function ziggurat() {
    const scale = 2 ** 53;
    const limit = new Float64Array(256), width = new Float64Array(256), height = new Float64Array(256);
    let x = R, above = R;
    const bottom = AREA / Math.exp(-R);
    limit[0] = Math.floor((R / bottom) * scale);
    width[0] = bottom / scale;
    width[255] = R / scale;
    height[0] = 1;
    height[255] = Math.exp(-R);
    for (let layer = 254; layer > 0; layer--) {
      x = -Math.log(AREA / x + Math.exp(-x));
      limit[layer + 1] = Math.floor((x / above) * scale);
      above = x;
      height[layer] = Math.exp(-x);
      width[layer] = x / scale;
    }
    return { limit, width, height };
  }

  // Four 64-bit words, as SeedSequence gives them, in 64 hexadecimal digits.
  function generator(words) {
    const [a, b, c, d] = [0, 16, 32, 48].map((at) => BigInt("0x" + words.slice(at, at + 16)));
    const increment = BigInt.asUintN(128, (((c << 64n) | d) << 1n) | 1n);
    let state = increment;
    state = BigInt.asUintN(128, (state + ((a << 64n) | b)) * MULTIPLIER + increment);
    return function () {
      state = BigInt.asUintN(128, state * MULTIPLIER + increment);
      const turn = state >> 122n;
      const mixed = ((state >> 64n) ^ state) & MASK64;
      return ((mixed >> turn) | (mixed << ((64n - turn) & 63n))) & MASK64;
    };
  }

  function exponentials(words, count) {
    const next = generator(words);
    const uniform = () => Number(next() >> 11n) / 9007199254740992;
    const values = new Float64Array(count);
    for (let place = 0; place < count; place++) {
      for (;;) {
        const drawn = next() >> 3n;
        const layer = Number(drawn & 255n);
        const high = Number(drawn >> 8n);
        const x = high * TABLES.width[layer];
        if (high < TABLES.limit[layer]) { values[place] = x; break; }
        if (layer === 0) { values[place] = R - Math.log1p(-uniform()); break; }
        const { height } = TABLES;
        if ((height[layer - 1] - height[layer]) * uniform() + height[layer] < Math.exp(-x)) { values[place] = x; break; }
      }
    }
    return values;
  }

  const kept = new Map();
  function numbers(words) {
    if (!kept.has(words)) kept.set(words, exponentials(words, RESAMPLES));
    return kept.get(words);
  }

  // ---- distributions ----

  function logGamma(x) {
    const terms = [76.18009172947146, -86.50532032941677, 24.01409824083091, -1.231739572450155, 0.1208650973866179e-2,
      -0.5395239384953e-5];
    let y = x, sum = 1.000000000190015;
    const shift = x + 5.5 - (x + 0.5) * Math.log(x + 5.5);
    for (const term of terms) sum += term / ++y;
    return -shift + Math.log((2.5066282746310005 * sum) / x);
  }

  function incompleteBeta(x, a, b) { // regularised, by its continued fraction (Lentz)
    if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
    if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
    const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x)) / a;
    let c = 1, d = 1 / nonzero(1 - ((a + b) * x) / (a + 1)), h = d;
    for (let m = 1; m < 300; m++) {
      const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
      d = 1 / nonzero(1 + even * d);
      c = nonzero(1 + even / c);
      h *= d * c;
      const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
      d = 1 / nonzero(1 + odd * d);
      c = nonzero(1 + odd / c);
      h *= d * c;
      if (Math.abs(d * c - 1) < 1e-14) break;
    }
    return front * h;
  }
  const nonzero = (value) => (Math.abs(value) < 1e-300 ? 1e-300 : value);

  function studentQuantile(freedom) { // at TAIL, so below zero
    if (!Number.isFinite(freedom)) return NaN;
    let low = -1000, high = 0;
    for (let step = 0; step < 80; step++) {
      const t = (low + high) / 2;
      const below = incompleteBeta(freedom / (freedom + t * t), freedom / 2, 0.5) / 2;
      if (below > TAIL) high = t; else low = t;
    }
    return (low + high) / 2;
  }

  // ---- fairlib.bias.sums: scales ----

  function link(scale, errors, units) {
    if (scale === "difference") return errors / units;
    const rate = (errors + 0.5) / (units + 1);
    if (scale === "ratio") return Math.log(rate);
    return rate < 1 ? Math.log(rate) - Math.log(1 - rate) : NaN;
  }

  function slope(scale, errors, units) {
    if (scale === "difference") return 1;
    const rate = (errors + 0.5) / (units + 1);
    if (scale === "ratio") return 1 / rate;
    return rate < 1 ? 1 / (rate * (1 - rate)) : NaN;
  }

  // ---- fairlib.bias.inference ----

  // Moments are sums over speakers of errors e, units n, ee, en and nn.
  function rateVariance([errors, units, ee, en, nn], size) {
    const rate = errors / units;
    let squares = ee - 2 * rate * en + rate * rate * nn;
    if (!(squares > 1e-9 * Math.max(ee, 1))) squares = 0;
    return ((size / (size - 1)) * squares) / (units * units);
  }

  function gapWithVariance(scale, one, other, sizes) {
    const variances = [one, other].map((moments, side) =>
      rateVariance(moments, sizes[side]) * slope(scale, moments[0], moments[1]) ** 2);
    return [link(scale, one[0], one[1]) - link(scale, other[0], other[1]), variances];
  }

  function quantiles(values, tail) {
    if (values.some((value) => !Number.isFinite(value))) return [NaN, NaN];
    const ordered = Float64Array.from(values).sort();
    const last = ordered.length - 1;
    return [tail, 1 - tail].map((share) => {
      const place = Math.min(Math.max(share * (last + 2) - 1, 0), last);
      const below = Math.floor(place), above = Math.min(below + 1, last), part = place - below;
      return ordered[below] * (1 - part) + ordered[above] * part;
    });
  }

  function stretchedInterval(estimate, values, variances, sizes) {
    if (!variances.every((value) => value > 0)) return [NaN, NaN];
    const total = variances.reduce((sum, value) => sum + value, 0);
    const freedom = total ** 2 / variances.reduce((sum, value, side) => sum + value ** 2 / (sizes[side] - 1), 0);
    const narrow = variances.reduce((sum, value, side) => sum + (value * (sizes[side] - 1)) / (sizes[side] + 1), 0);
    const stretch = (studentQuantile(freedom) / Z) * Math.sqrt(total / narrow);
    const [low, high] = quantiles(values, TAIL);
    return [estimate - (estimate - low) * stretch, estimate + (high - estimate) * stretch];
  }

  function studentised(gap, variance) {
    if (variance === 0 && Number.isFinite(gap)) return Math.abs(gap) > 1e-9 ? Infinity : 0;
    return Math.abs(gap / Math.sqrt(variance));
  }

  // ---- fairlib.bias.sums: weighted sums of some speakers, [resamples x layers] ----

  function resampled(set, members, words) {
    const { layers, seeds, errors, units } = set;
    const ofSpeakers = members.map((speaker) => numbers(words.resample[speaker]));
    const ofSeeds = words.seeds.slice(0, seeds).map(numbers);
    const sums = [new Float64Array(RESAMPLES * layers), new Float64Array(RESAMPLES * layers)];
    for (let draw = 0; draw < RESAMPLES; draw++) {
      let meanSpeaker = 0, meanSeed = 0;
      for (const own of ofSpeakers) meanSpeaker += own[draw] / members.length;
      for (const own of ofSeeds) meanSeed += own[draw] / seeds;
      for (let place = 0; place < members.length; place++) {
        const speaker = ofSpeakers[place][draw] / meanSpeaker;
        for (let seed = 0; seed < seeds; seed++) {
          const weight = (speaker * ofSeeds[seed][draw]) / meanSeed;
          const at = (members[place] * seeds + seed) * layers;
          for (let layer = 0; layer < layers; layer++) {
            sums[0][draw * layers + layer] += weight * errors[at + layer];
            sums[1][draw * layers + layer] += weight * units[members[place] * seeds + seed];
          }
        }
      }
    }
    return sums;
  }

  function speakerTotals(set, speaker) { // over seeds: errors of each layer, and units
    const { layers, seeds, errors, units } = set;
    const own = new Float64Array(layers);
    let all = 0;
    for (let seed = 0; seed < seeds; seed++) {
      all += units[speaker * seeds + seed];
      for (let layer = 0; layer < layers; layer++) own[layer] += errors[(speaker * seeds + seed) * layers + layer];
    }
    return [own, all];
  }

  function moments(set, members) {
    const table = Array.from({ length: set.layers }, () => [0, 0, 0, 0, 0]);
    for (const speaker of members) {
      const [errors, units] = speakerTotals(set, speaker);
      for (let layer = 0; layer < set.layers; layer++) addTo(table[layer], errors[layer], units);
    }
    return table;
  }

  function addTo(sums, e, n) {
    sums[0] += e; sums[1] += n; sums[2] += e * e; sums[3] += e * n; sums[4] += n * n;
  }

  // fairlib.bias.inference.permuted_sums: labels permuted among the speakers of both groups
  function permuted(set, one, other, words) {
    const both = [...one, ...other].sort((a, b) => a - b); // speakers stand in the order of their names
    const first = new Set(one), labels = both.map((speaker) => first.has(speaker));
    const keys = both.map((speaker) => numbers(words.permute[speaker]));
    const totals = both.map((speaker) => speakerTotals(set, speaker));
    const order = both.map((_, place) => place);
    const drawn = [];
    for (let draw = 0; draw < RESAMPLES; draw++) {
      order.sort((a, b) => keys[a][draw] - keys[b][draw]);
      const sides = [0, 1].map(() => Array.from({ length: set.layers }, () => [0, 0, 0, 0, 0]));
      for (let place = 0; place < both.length; place++) {
        const side = sides[labels[order[place]] ? 0 : 1], [errors, units] = totals[place];
        for (let layer = 0; layer < set.layers; layer++) addTo(side[layer], errors[layer], units);
      }
      drawn.push(sides);
      for (let place = 0; place < order.length; place++) order[place] = place;
    }
    return drawn;
  }

  // ---- what the page asks for ----

  // set: layers (how many), seeds, errors [speakers, seeds, layers], units [speakers, seeds]; one, other: places of the
  // two groups' speakers; words: seeds of the speakers' random numbers.
  function gaps(set, one, other, words, scale) {
    const sizes = [one.length, other.length];
    const observed = [moments(set, one), moments(set, other)];
    const drawn = [resampled(set, one, words), resampled(set, other, words)];
    const nulls = permuted(set, one, other, words);
    const rows = [], nullStatistics = [];
    for (let layer = 0; layer < set.layers; layer++) {
      const [estimate, variances] = gapWithVariance(scale, observed[0][layer], observed[1][layer], sizes);
      const values = new Float64Array(RESAMPLES);
      const errors = [new Float64Array(RESAMPLES), new Float64Array(RESAMPLES)];
      for (let draw = 0; draw < RESAMPLES; draw++) {
        const at = draw * set.layers + layer;
        values[draw] = link(scale, drawn[0][0][at], drawn[0][1][at]) - link(scale, drawn[1][0][at], drawn[1][1][at]);
        for (const side of [0, 1]) errors[side][draw] = drawn[side][0][at] / drawn[side][1][at];
      }
      const [low, high] = stretchedInterval(estimate, values, variances, sizes);
      const null_ = nulls.map((sides) => gapWithVariance(scale, sides[0][layer], sides[1][layer], sizes));
      const known = null_.map(([gap]) => gap).filter(Number.isFinite);
      const centre = known.reduce((sum, gap) => sum + gap, 0) / known.length;
      const statistic = studentised(estimate - centre, variances[0] + variances[1]);
      nullStatistics.push(null_.map(([gap, parts]) => {
        const value = studentised(gap - centre, parts[0] + parts[1]);
        return Number.isNaN(value) ? Infinity : value;
      }));
      const [nullLow, nullHigh] = quantiles(null_.map(([gap]) => gap), TAIL);
      rows.push({
        estimate, low, high, nullLow, nullHigh, statistic,
        errors: [0, 1].map((side) => {
          const [wrong, units] = observed[side][layer];
          const rate = wrong / units;
          const ends = stretchedInterval(rate, errors[side], [rateVariance(observed[side][layer], sizes[side])],
            [sizes[side]]);
          return { error: rate, low: Math.max(ends[0], 0), high: set.most ? Math.min(ends[1], set.most) : ends[1] };
        }),
      });
    }
    const tested = nullStatistics.filter((_, layer) => Number.isFinite(rows[layer].estimate));
    const largest = nulls.map((_, draw) => Math.max(...tested.map((values) => values[draw])));
    rows.forEach((row, layer) => {
      const beyond = (values) => (1 + values.filter((value) => value >= row.statistic - 1e-12).length) / (1 + RESAMPLES);
      const known = Number.isFinite(row.estimate);
      row.p = known ? beyond(nullStatistics[layer]) : NaN;
      row.pFamilywise = known ? beyond(largest) : NaN;
      if (scale === "ratio") {
        for (const name of ["estimate", "low", "high", "nullLow", "nullHigh"]) row[name] = Math.exp(row[name]);
      }
    });
    return rows;
  }

  const api = { gaps, exponentials, studentQuantile };
  if (typeof module !== "undefined") module.exports = api;
  else root.ExplorerStatistics = api;
})(typeof window === "undefined" ? globalThis : window);
