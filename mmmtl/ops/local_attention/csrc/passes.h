// Passes over strips of the map. Included once per instruction set, inside its namespace.
//
// Everything is gathered, nothing is added to memory that another thread may write: a pixel's sums run over its taps in
// order, whatever the strips and the threads, so results repeat bit for bit.

// Columns x0 <= x < x1 of rows y0 <= y < y1 of one image: what one thread computes at a time.
struct Strip {
  int64_t image, x0, x1, y0, y1;
};

struct Plan {
  int64_t columns, strips, rows, runs;

  template <class T> static Plan of(const Problem& p) {
    const int64_t channels = round_up(std::max({p.channels, p.depth, int64_t{1}}), kLanes<T>);
    const int64_t fits = kRingBytes / (p.window * channels * int64_t{sizeof(T)}) - (p.window - 1);
    const int64_t most = std::max(kQueries * (fits / kQueries), kLeastColumns);
    Plan plan;
    plan.strips = (p.width + most - 1) / most;
    plan.columns = round_up((p.width + plan.strips - 1) / plan.strips, kQueries);
    plan.strips = (p.width + plan.columns - 1) / plan.columns;
    // Each run reads L - 1 rows again, so runs are long, unless threads would stand idle.
    const int64_t together = p.images * plan.strips, wanted = (8 * p.threads + together - 1) / together;
    const int64_t busy = (p.threads + together - 1) / together, longest = p.height / (8 * p.window);
    plan.runs = p.threads == 1 ? 1 : std::min(std::min(wanted, std::max(busy, longest)), p.height);
    plan.rows = (p.height + plan.runs - 1) / plan.runs;
    plan.runs = (p.height + plan.rows - 1) / plan.rows;
    return plan;
  }

  int64_t tasks(const Problem& p) const { return p.images * strips * runs; }

  Strip task(const Problem& p, int64_t number) const {
    const int64_t run = number % runs, strip = number / runs % strips, image = number / runs / strips;
    return {image, strip * columns, std::min((strip + 1) * columns, p.width), run * rows,
            std::min((run + 1) * rows, p.height)};
  }

  static constexpr int64_t kRingBytes = 384 << 10;  // about half of a core's L2
  static constexpr int64_t kLeastColumns = 16;
};

// Scratch memory of a thread, kept from call to call: fresh memory costs page faults.
struct Scratch {
  std::vector<char> bytes;
  size_t used = 0;

  template <class T> T* take(int64_t count) {
    const size_t size = round_up(count * int64_t{sizeof(T)}, 64);
    char* base = bytes.data() + (64 - reinterpret_cast<uintptr_t>(bytes.data()) % 64) % 64;
    T* result = reinterpret_cast<T*>(base + used);
    used += size;
    return result;
  }
};

// What one thread needs to compute one strip.
template <class T> struct Worker {
  const Problem& p;
  Strip strip;
  int64_t radius, taps, pixels, padded, ring_columns, step, factor_step;
  T *ring, *row, *factors, *logits;
  std::vector<const T*> rows, at;

  Worker(const Problem& p, const Plan& plan, Scratch& scratch)
      : p(p), strip{}, radius(p.window / 2), taps(p.window * p.window), pixels(0), padded(0),
        ring_columns(plan.columns + p.window - 1), step(round_up(std::max(p.channels, p.depth), kLanes<T>)),
        factor_step(round_up(plan.columns, kLanes<T>)), rows(p.window),
        at(p.window) {
    const int64_t ring_size = p.window * ring_columns * step, row_size = plan.columns * step, size = taps * factor_step;
    scratch.used = 0;
    const size_t bytes = (ring_size + row_size + 2 * size) * sizeof(T) + 6 * 64;
    if (scratch.bytes.size() < bytes) scratch.bytes.resize(bytes);
    ring = scratch.take<T>(ring_size);
    row = scratch.take<T>(row_size);
    factors = scratch.take<T>(size);
    logits = scratch.take<T>(size);
    std::fill(factors, factors + size, T{});
    std::fill(logits, logits + size, T{});
  }

  void start(const Strip& next) {
    strip = next;
    pixels = strip.x1 - strip.x0;
    padded = round_up(pixels, kQueries);
  }

  // Makes rows[0..L-1] the rows y - r .. y + r of `from`, null outside the map. Call for y0, y0 + 1, ...
  void turn_ring(const Tensor& from, int64_t channels, int64_t y) {
    const int64_t oldest = y == strip.y0 ? y - radius : y + radius;
    for (int64_t j = oldest; j <= y + radius; ++j)
      if (j >= 0 && j < p.height)
        read_row(from, strip.image, j, strip.x0 - radius, strip.x0 + padded + radius, p.width, channels, slot(j), step);
    for (int64_t i = 0; i < p.window; ++i) {
      const int64_t j = y - radius + i;
      rows[i] = j >= 0 && j < p.height ? slot(j) : nullptr;
    }
  }
  T* slot(int64_t j) { return ring + j % p.window * ring_columns * step; }

  // to[t][x] = here . neighbour t of `there`; `outside` where that lies outside the map. The ring must hold `there`.
  void dot_row(const Tensor& here, int64_t channels, int64_t y, T factor, T outside, T* to) {
    const T* mine = pixels == padded ? in_place<T>(here, strip.image, y, strip.x0, channels) : nullptr;
    int64_t mine_step = here.column;
    if (!mine) {
      read_row(here, strip.image, y, strip.x0, strip.x0 + padded, p.width, channels, row, step);
      mine = row;
      mine_step = step;
    }
    const int64_t whole = round_up(channels, kLanes<T>);
    for (int64_t x = 0; x < padded; x += kQueries)
      for (int64_t i = 0; i < p.window; ++i)
        if (rows[i])
          dots(mine + x * mine_step, mine_step, rows[i] + x * step, step, whole, p.window,
               to + i * p.window * factor_step + x, factor_step);
    for (int64_t t = 0; t < taps; ++t) {
      T* line = to + t * factor_step;
      const int64_t offset = t % p.window - radius + strip.x0;  // column of the neighbour of pixel 0
      const int64_t left = rows[t / p.window] ? std::min(std::max<int64_t>(-offset, 0), pixels) : pixels;
      const int64_t right = std::max(std::min(p.width - offset, pixels), left);
      if (factor != T{1})
        for (int64_t x = left; x < right; ++x) line[x] *= factor;
      std::fill(line, line + left, outside);
      std::fill(line + right, line + pixels, outside);
    }
  }

  // out[x] = sum over t of factors[t][x] * neighbour t of the tensor in the ring.
  void sum_row(const Tensor& out, int64_t channels, int64_t y) {
    T* target = in_place<T>(out, strip.image, y, strip.x0, channels);
    const bool direct = target != nullptr;
    const int64_t target_step = direct ? out.column : step, block = kVectors * kLanes<T>;
    if (!direct) target = row;
    for (int64_t x = 0; x < padded; x += kQueries)
      for (int64_t c = 0; c < channels; c += block) {
        for (size_t i = 0; i < rows.size(); ++i) at[i] = rows[i] ? rows[i] + x * step + c : nullptr;
        T* to = target + x * target_step + c;
        const int64_t count = direct ? std::min<int64_t>(kQueries, pixels - x) : kQueries;
        const auto sum = [&](auto vectors) {
          weighted_sum<T, vectors>(factors + x, factor_step, at.data(), step, p.window, to, target_step, count);
        };
        switch ((channels - c + kLanes<T> - 1) / kLanes<T>) {
          case 1: sum(std::integral_constant<int, 1>{}); break;
          case 2: sum(std::integral_constant<int, 2>{}); break;
          case 3: sum(std::integral_constant<int, std::min(kVectors, 3)>{}); break;
          default: sum(std::integral_constant<int, kVectors>{});
        }
      }
    if (!direct) write_row(out, strip.image, y, strip.x0, pixels, channels, row, step);
  }

  // factors[t][x] = from[t] of pixel x; mirrored: of its neighbour t for the tap through which that sees pixel x.
  void read_factors(const T* from, int64_t y, bool mirrored) {
    const int64_t plane = p.height * p.width;
    for (int64_t t = 0; t < taps; ++t) {
      const int64_t tap = mirrored ? taps - 1 - t : t;
      const int64_t j = mirrored ? y + t / p.window - radius : y, offset = mirrored ? t % p.window - radius : 0;
      T* line = factors + t * factor_step;
      if (j < 0 || j >= p.height) continue;  // its row in the ring is null
      const T* source = from + (strip.image * taps + tap) * plane + j * p.width + strip.x0 + offset;
      for (int64_t x = 0; x < pixels; ++x) {
        const int64_t column = strip.x0 + x + offset;
        line[x] = column >= 0 && column < p.width ? source[x] : T{};
      }
    }
  }

  void write_factors(const T* lines, T* to, int64_t y) {
    const int64_t plane = p.height * p.width;
    for (int64_t t = 0; t < taps; ++t)
      std::copy(lines + t * factor_step, lines + t * factor_step + pixels,
                to + (strip.image * taps + t) * plane + y * p.width + strip.x0);
  }

  void softmax() {
    for (int64_t x = 0; x < pixels; x += kLanes<T>) {
      T* line = logits + x;
      Vec<T> most = load(line), sum{};
      for (int64_t t = 1; t < taps; ++t) most = larger(load(line + t * factor_step), most);
      for (int64_t t = 0; t < taps; ++t) {
        const Vec<T> e = exponential(load(line + t * factor_step) - most);
        sum += e;
        store(line + t * factor_step, e);
      }
      const Vec<T> inverse = splat(T{1}) / sum;
      for (int64_t t = 0; t < taps; ++t) store(line + t * factor_step, load(line + t * factor_step) * inverse);
    }
  }

  // logits holds the gradients of the weights, factors the weights; logits becomes the gradients of the logits.
  void differentiate_softmax(T scale) {
    for (int64_t x = 0; x < pixels; x += kLanes<T>) {
      T* line = logits + x;
      const T* weight = factors + x;
      Vec<T> mean{};
      for (int64_t t = 0; t < taps; ++t) mean += load(weight + t * factor_step) * load(line + t * factor_step);
      for (int64_t t = 0; t < taps; ++t) {
        const Vec<T> centred = load(line + t * factor_step) - mean;
        store(line + t * factor_step, load(weight + t * factor_step) * centred * splat(scale));
      }
    }
  }

  void sum_strip(const T* from, bool mirrored, const Tensor& there, const Tensor& out, int64_t channels) {
    for (int64_t y = strip.y0; y < strip.y1; ++y) {
      turn_ring(there, channels, y);
      read_factors(from, y, mirrored);
      sum_row(out, channels, y);
    }
  }
};

template <class T, class Body> void for_each_strip(const Problem& p, Body body) {
  const Plan plan = Plan::of<T>(p);
  const int64_t tasks = plan.tasks(p);
  const int threads = static_cast<int>(std::min(p.threads, tasks));
  auto work = [&](int64_t first, int64_t last, Worker<T>& worker) {
    for (int64_t number = first; number < last; ++number) {
      worker.start(plan.task(p, number));
      body(worker);
    }
  };
  if (threads <= 1) {
    static thread_local Scratch scratch;
    Worker<T> worker(p, plan, scratch);
    work(0, tasks, worker);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    static thread_local Scratch scratch;
    Worker<T> worker(p, plan, scratch);
#pragma omp for schedule(dynamic, 1)
    for (int64_t number = 0; number < tasks; ++number) work(number, number + 1, worker);
  }
}

template <class T> void forward(const Forward& f, double scale) {
  const Problem& p = f.problem;
  T* weights = static_cast<T*>(f.weights);
  for_each_strip<T>(p, [&](Worker<T>& worker) {
    const T outside = p.zero_border ? T{0} : -std::numeric_limits<T>::infinity();
    for (int64_t y = worker.strip.y0; y < worker.strip.y1; ++y) {
      worker.turn_ring(f.key, p.channels, y);
      worker.dot_row(f.query, p.channels, y, static_cast<T>(scale), outside, worker.logits);
      worker.softmax();
      worker.write_factors(worker.logits, weights, y);
    }
    worker.sum_strip(weights, false, f.value, f.out, p.depth);
  });
}

template <class T> void backward(const Backward& b, double scale) {
  const Problem& p = b.problem;
  const T* weights = static_cast<const T*>(b.weights);
  T* grad_logits = static_cast<T*>(b.grad_logits);
  for_each_strip<T>(p, [&](Worker<T>& worker) {
    for (int64_t y = worker.strip.y0; y < worker.strip.y1; ++y) {
      worker.turn_ring(b.value, p.depth, y);
      worker.dot_row(b.grad, p.depth, y, T{1}, T{0}, worker.logits);
      worker.read_factors(weights, y, false);
      worker.differentiate_softmax(static_cast<T>(scale));
      worker.write_factors(worker.logits, grad_logits, y);
    }
    worker.sum_strip(grad_logits, false, b.key, b.grad_query, p.channels);
  });
  for_each_strip<T>(p, [&](Worker<T>& worker) {
    worker.sum_strip(grad_logits, true, b.query, b.grad_key, p.channels);
    worker.sum_strip(weights, true, b.grad, b.grad_value, p.depth);
  });
}
