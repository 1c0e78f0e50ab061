// The player that mixes background back in: all sources play together, each through a gain of its own.
(() => {
  let audio = null; // made on the first click, as browsers ask
  let current = null; // { mixer, nodes, gains, started, seconds }

  const level = (mixer) => mixer.querySelector("input").value / 100;

  function stop() {
    if (!current) return;
    const { mixer, nodes } = current;
    current = null;
    nodes.forEach((node) => { node.onended = null; node.stop(); });
    mixer.dataset.state = "stopped";
    mixer.querySelector("button").textContent = mixer.dataset.title;
    mixer.querySelector(".mixer-time").textContent = "";
  }

  async function load(path) {
    const answer = await fetch(new URL("gradio_api/file=" + encodeURI(path), document.baseURI));
    if (!answer.ok) throw new Error("the sound is no longer here; separate it again");
    return audio.decodeAudioData(await answer.arrayBuffer());
  }

  async function play(mixer) {
    audio = audio || new AudioContext();
    audio.resume();
    mixer.dataset.title = mixer.dataset.title || mixer.querySelector("button").textContent;
    mixer.dataset.state = "loading";
    const buffers = await Promise.all(JSON.parse(mixer.dataset.sources).map(load));
    if (mixer.dataset.state !== "loading") return;
    stop();
    const started = audio.currentTime + 0.05;
    const gains = [];
    const nodes = buffers.map((buffer, index) => {
      const node = new AudioBufferSourceNode(audio, { buffer });
      const gain = new GainNode(audio, { gain: index === 0 ? 1 : level(mixer) });
      node.connect(gain).connect(audio.destination);
      node.start(started);
      gains.push(gain);
      return node;
    });
    current = { mixer, nodes, gains, started, seconds: buffers[0].duration };
    nodes[0].onended = stop;
    mixer.dataset.state = "playing";
    mixer.querySelector("button").textContent = "■ Stop";
    requestAnimationFrame(tick);
  }

  function tick() {
    if (!current) return;
    if (!document.contains(current.mixer)) return stop(); // a new result stands there
    const time = Math.max(0, audio.currentTime - current.started);
    current.mixer.querySelector(".mixer-time").textContent = `${time.toFixed(1)} / ${current.seconds.toFixed(1)} s`;
    current.mixer.dataset.gain = current.gains.length > 1 ? current.gains[1].gain.value.toFixed(2) : "";
    requestAnimationFrame(tick);
  }

  document.addEventListener("click", (event) => {
    const mixer = event.target.closest?.(".mixer-play")?.closest(".mixer");
    if (!mixer) return;
    if (mixer.dataset.state !== "stopped") {
      if (current && current.mixer === mixer) stop();
      mixer.dataset.state = "stopped";
      return;
    }
    play(mixer).catch((error) => {
      mixer.dataset.state = "stopped";
      mixer.querySelector(".mixer-time").textContent = String(error.message || error);
    });
  });

  document.addEventListener("input", (event) => {
    const mixer = event.target.closest?.(".mixer");
    if (!mixer) return;
    mixer.querySelector("output").textContent = `${event.target.value} %`;
    if (current && current.mixer === mixer) {
      current.gains.slice(1).forEach((gain) => gain.gain.setTargetAtTime(level(mixer), audio.currentTime, 0.02));
    }
  });
})();
