from __future__ import annotations
import time
from .fixtures import StandInFactory
from ..lab.listing import changes
def test_up(stand_ins: StandInFactory) -> None:
    t=time.time()
    a, = stand_ins(1)
    print("up", time.time()-t)
    for _ in range(3):
        t=time.time()
        r=a.ssh("ver"); print(time.time()-t)
    t=time.time(); b=a.listing(); print(len(b), time.time()-t); print("\n".join(b)[:3000])
    a.ssh('setx LAB_X "a b" /M'); a.ssh("netsh advfirewall firewall add rule name=x dir=in action=allow"); a.ssh("schtasks /Create /TN a\\b /SC ONSTART /RU SYSTEM /TR cmd"); a.ssh("icacls C:\\Users /grant *S-1-5-18:F"); a.ssh("mkdir C:\\provision & echo x> C:\\provision\\x")
    c=a.listing(); print(changes(b,c))
    a.ssh('schtasks /Run /TN a\\b'); time.sleep(1); print(a.processes())
    print(a.inside(["ps","-eww", "-o", "pid=,ppid=,args="]).stdout)
    t=time.time(); a.reboot(); print("reboot", time.time()-t)
    print(changes(c,a.listing()))
