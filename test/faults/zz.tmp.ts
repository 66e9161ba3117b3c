import { Scene } from "./scene";
(async () => {
  const s = await Scene.start("2");
  await s.direct();
  const t=Date.now(); const step=(n:string)=>console.log(n, Date.now()-t);
  await s.run("up"); step("up"); await s.run("destroy"); step("destroy");
  await s.stack.remove(); step("stack");
  await s.proxy.close(); step("proxy");
  await s.worker.stop(); step("worker");
  await s.registry.stop(); step("registry");
})();
