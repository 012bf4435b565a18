"""The fault suite: a run is hurt at every one of its events, and the next one must bring everything to its place.

    make faults                                   every kind of fault, spread over all events, on real lab hosts
    python -m tests.faults --most 40 --lanes 1    fewer of them; what was done before is not done again (see --help)

An undisturbed run is recorded: its events, each once, are the moments at which a run can be hurt. Then, for each case,
the command runs in a process of its own (``driver.py``) that stops at that moment until the fault has happened:

| fault | what happens | until |
| --- | --- | --- |
| kill | SIGKILL for the controller | |
| cut | the host's network cable is pulled | the run has ended |
| power | the host loses power, without a word to anybody | the run has ended; then it boots |
| full | not one byte more fits on the host's disk | the run has ended |
| program | SIGKILL for our program on the host | |
| refuse | the SSH server takes no more logins: it is stopped, denies the account, or is crowded | the run has ended |

Afterwards the host is healed and a run like any user's must end with exit code 0, `check` must find no difference, and
every file on the hosts must be what it is after a run that nobody disturbed: contents, modes, no ``.part``, no file
aside, no lock that is held, no program that is left; what the users had there is as it was. A broken teardown is mended
in both ways: by another teardown, which must leave no trace, and by an apply.

| file | what is in it |
| --- | --- |
| ``moments.py`` | what an event is called, whatever the hosts' names and the numbers in it |
| ``driver.py`` | the command in a process of its own, stopped at a moment |
| ``kinds.py`` | the six faults, done and undone |
| ``disk.py`` | a small disk for a host, which can be filled |
| ``room.py`` | three hosts, what they are to be, and whether they are that |
| ``cases.py`` | which fault at which moment of which run; which of them make a good sample |
| ``lane.py`` | carries out cases, one after the other, on one room |
| ``journal.py`` | what became of the cases: a file that later runs go on with, and the table |
| ``test_cases.py``, ``test_lane.py``, ``test_faults.py`` | rules of plan and cases; the sample of `make test` |

Most cases need no Ray (``room.CHEAP``); those that concern it run on a room with the project's own playbook.
They bear silence for a third of users' time, on both sides in proportion; with Ray, for all of it.
What is not tried: a power cut loses nothing that was written, for the hosts' disks are this machine's. The disk that is
full has /etc, /root, /opt and /srv; in /tmp, /var and /home there is room, and empty files and folders can be made.
"""
