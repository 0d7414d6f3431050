using Broker.Consensus;
using Broker.Domain;

namespace Broker.Tests.Unit.Consensus;

/// <summary>
/// The commands of a scene. A message filter is a way, <c>1-&gt;2</c>, <c>1-&gt;</c> or <c>-&gt;2</c>, a kind, and a
/// number, <c>#2</c> for the second of those that match; each part may be left out.
/// <code>
/// group 3 window=300       three voters; options: append, window, uncommitted (bytes), notice (ms), prefer (a node),
///                          spare (nodes that are no members yet)
/// disk 1 term=4 vote=2 log=1,1,4     what node 1 finds on its disk; before start. base=3/1 is a snapshot before the
///                          log, fence=5/4 what an end of the log was that got damaged
/// lose 1                   node 1, which is down, finds its disk empty, and knows that it was not
/// start                    all nodes start that are down
/// lead 1                   node 1 wins an election and all is delivered; only the outcome is traced
/// timeout 1                node 1's clock runs to its next deadline: an election timeout, a leader's heartbeat
/// tick 1 100 | tick all 100          the clock of node 1, of every node, runs for 100 ms
/// deliver [filter] | settle          what is on its way arrives; and what follows from it, until all is quiet
/// repeat [filter]          a copy arrives, the message stays on its way
/// drop [filter] | network  messages are lost; messages on their way are listed
/// cut 1 3 | cut 3 | heal   node 1 and 3, node 3 and all others, lose what they send each other
/// propose 1 [n]            n proposals (one) before one Ready
/// hold 1 | persist 1 [n] | flow 1    node 1's writes wait; n of them (all) finish; they finish at once again
/// await 1 | await 1 no     somebody waits at node 1 for what commits next; nobody does
/// change 1 AddLearner 4    node 1 is asked for a change of members: AddLearner, Promote or Remove
/// read 1 7                 node 1 is asked for a read index; 7 names the read
/// compact 1 5              node 1's log through entry 5 goes; a snapshot is durable there
/// request 3 1              node 3 is asked to request a snapshot of more than entry 1
/// snapshot 1 3 sent        node 1 is told that its snapshot for node 3 is sent, or failed
/// transfer 1 3 now         node 1 is asked to have node 3 campaign, with whatever log that has
/// transfer 1 3 | unreachable 1 3 | reachable 1 3     node 1 is asked, or is told of its connection to 3
/// crash 1 | restart 1 | status [1]
/// tear 1                   node 1 crashes within its oldest write, after the vote file and before the log
/// quietly tick 1 900       any command, without a trace
/// </code>
/// </summary>
internal sealed class ScriptCommands(ScriptWorld world)
{
    public void Run(string command)
    {
        var words = command.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (words[0] == "quietly")
        {
            Run(string.Join(' ', words[1..]));
            world.TakeTrace();
            return;
        }

        var rest = words[1..];
        if (!TryRunSetting(words[0], rest) && !TryRunNetwork(words[0], rest) && !TryRunNode(words[0], rest))
        {
            throw new InvalidDataException($"unknown command {words[0]}");
        }
    }

    private bool TryRunSetting(string verb, string[] rest)
    {
        switch (verb)
        {
            case "group":
                MakeGroup(ScriptText.Number(rest[0]), new ScriptOptions(rest[1..]));
                return true;
            case "disk":
                Prepare(rest);
                return true;
            case "lose":
                Node(rest).Prepare(ScriptDisk.Prepared(HardState.Lost, LogPosition.None, LogPosition.None, []));
                return true;
            case "start":
                StartAll();
                return true;
            case "lead":
                Lead(Node(rest));
                return true;
            case "status":
                foreach (var node in rest.Length > 0 ? [Node(rest)] : world.Nodes)
                {
                    world.Trace(node.Status());
                }

                return true;
            default:
                return false;
        }
    }

    private bool TryRunNetwork(string verb, string[] rest)
    {
        switch (verb)
        {
            case "deliver":
                world.Deliver(Matching(rest));
                return true;
            case "repeat":
                world.Deliver(Matching(rest), keep: true);
                return true;
            case "drop":
                world.Lose(Matching(rest));
                return true;
            case "settle":
                world.Settle();
                return true;
            case "network":
                foreach (var message in world.Network)
                {
                    world.Trace(ScriptText.Describe(message));
                }

                return true;
            case "cut":
                Cut(rest);
                return true;
            case "heal":
                world.Heal();
                return true;
            default:
                return false;
        }
    }

    private bool TryRunNode(string verb, string[] rest)
    {
        switch (verb)
        {
            case "timeout":
                Node(rest).AdvanceToDeadline();
                return true;
            case "tick":
                foreach (var node in rest[0] == "all" ? world.Nodes : [Node(rest)])
                {
                    node.Advance(ScriptText.Number(rest[1]));
                }

                return true;
            case "propose":
                Report(Node(rest).Propose(rest.Length > 1 ? ScriptText.Number(rest[1]) : 1));
                return true;
            case "hold":
                Node(rest).HoldsWrites = true;
                return true;
            case "flow":
                Node(rest).HoldsWrites = false;
                Persist(Node(rest), int.MaxValue);
                return true;
            case "persist":
                Persist(Node(rest), rest.Length > 1 ? ScriptText.Number(rest[1]) : int.MaxValue);
                return true;
            case "await":
                Node(rest).Node.AwaitsCommits = rest.Length == 1;
                return true;
            case "crash":
                Node(rest).Crash();
                return true;
            case "tear":
                Node(rest).CrashTorn();
                return true;
            case "restart":
                Node(rest).Start();
                return true;
            default:
                return TryRunConnection(verb, rest);
        }
    }

    private bool TryRunConnection(string verb, string[] rest)
    {
        switch (verb)
        {
            case "transfer":
                var isBegun = Node(rest).Node.TryTransferLeadership(Peer(rest), catchesUp: rest.Length == 2);
                world.Trace(isBegun ? "begun" : "refused");
                break;
            case "unreachable":
                Node(rest).Node.ReportUnreachable(Peer(rest));
                break;
            case "reachable":
                Node(rest).Node.ReportReachable(Peer(rest));
                break;
            case "snapshot":
                Node(rest).Node.ReportSnapshot(Peer(rest), rest[2] == "sent");
                break;
            default:
                return TryRunMembers(verb, rest);
        }

        Node(rest).Drain();
        return true;
    }

    private bool TryRunMembers(string verb, string[] rest)
    {
        switch (verb)
        {
            case "change":
                var kind = Enum.Parse<MembershipChangeKind>(rest[1]);
                Report(Node(rest).Change(new MembershipChange(kind, new NodeId(ScriptText.Number(rest[2])))));
                return true;
            case "read":
                world.Trace(Node(rest).Node.TryReadIndex(ScriptText.Number(rest[1])) ? "asked" : "refused");
                Node(rest).Drain();
                return true;
            case "request":
                Node(rest).Node.RequestSnapshot(new LogIndex(ScriptText.Number(rest[1])));
                Node(rest).Drain();
                return true;
            case "compact":
                Node(rest).CompactThrough(new LogIndex(ScriptText.Number(rest[1])));
                return true;
            default:
                return false;
        }
    }

    private ScriptNode Node(string[] rest) => world[ScriptText.Number(rest[0])];

    private NodeId Peer(string[] rest) => new(ScriptText.Number(rest[1]));

    private void MakeGroup(int size, ScriptOptions given)
    {
        var voters = Enumerable.Range(1, size).Select(static voter => new NodeId(voter)).ToArray();
        world.Define(new GroupConfiguration(LogIndex.None, voters, []), LogPosition.None);
        for (var id = 1; id <= size + given.Number("spare", 0); id++)
        {
            var defaults = new RaftOptions { Id = new NodeId(id), Voters = voters };
            world.Add(defaults with
            {
                MaxAppendBytes = given.Number("append", defaults.MaxAppendBytes),
                MaxInFlightBytes = given.Number("window", defaults.MaxInFlightBytes),
                MaxUncommittedBytes = given.Number("uncommitted", (int)defaults.MaxUncommittedBytes),
                CommitNoticeDelay = TimeSpan.FromMilliseconds(given.Number("notice", 0)),
                PreferredLeader = new NodeId(given.Number("prefer", 0)),
            });
        }
    }

    private void Prepare(string[] rest)
    {
        var given = new ScriptOptions(rest[1..]);
        var state = new HardState(new Term(given.Number("term", 0)), new NodeId(given.Number("vote", 0)));
        var basePosition = given.Position("base");
        if (basePosition != LogPosition.None)
        {
            world.DefineSnapshot(basePosition);
        }

        var terms = given.Numbers("log").Select(static term => new Term(term));
        Node(rest).Prepare(ScriptDisk.Prepared(state, basePosition, given.Position("fence"), terms));
    }

    private void StartAll()
    {
        foreach (var node in world.Nodes.Where(static node => !node.IsUp))
        {
            node.Start();
        }
    }

    private void Lead(ScriptNode node)
    {
        StartAll();
        node.AdvanceToDeadline();
        world.Settle();
        world.TakeTrace();
        if (node.Node.Role != RaftRole.Leader)
        {
            throw new InvalidDataException($"node {node.Id} does not win its election");
        }

        world.Trace(node.Status());
    }

    private void Cut(string[] rest)
    {
        var one = ScriptText.Number(rest[0]);
        var others = rest.Length > 1
            ? [ScriptText.Number(rest[1])]
            : world.Nodes.Select(static node => node.Id.Value).Where(id => id != one);
        foreach (var other in others)
        {
            world.Cut(one, other);
        }
    }

    private void Report(ProposeResult result)
    {
        if (result != ProposeResult.Accepted)
        {
            world.Trace($"refused: {result}");
        }
    }

    private static void Persist(ScriptNode node, int count)
    {
        for (var done = 0; done < count && node.TryPersist(); done++)
        {
        }
    }

    private RaftMessage[] Matching(string[] filter)
    {
        IEnumerable<RaftMessage> matching = world.Network;
        foreach (var word in filter)
        {
            matching = word switch
            {
                _ when word.Contains("->", StringComparison.Ordinal) => OnTheWay(matching, word.Split("->")),
                _ when word[0] == '#' => matching.Skip(ScriptText.Number(word[1..]) - 1).Take(1),
                _ => OfKind(matching, Enum.Parse<RaftMessageKind>(word)),
            };
        }

        RaftMessage[] found = [.. matching];
        return found.Length > 0 ? found : throw new InvalidDataException(
            $"no such message is on its way, but: {string.Join("; ", world.Network.Select(ScriptText.Describe))}");
    }

    private static IEnumerable<RaftMessage> OnTheWay(IEnumerable<RaftMessage> messages, string[] ends) =>
        messages.Where(message =>
            (ends[0].Length == 0 || message.From.Value == ScriptText.Number(ends[0]))
            && (ends[1].Length == 0 || message.To.Value == ScriptText.Number(ends[1])));

    private static IEnumerable<RaftMessage> OfKind(IEnumerable<RaftMessage> messages, RaftMessageKind kind) =>
        messages.Where(message => message.Kind == kind);
}
