using System.Buffers;
using System.Collections.Immutable;
using Broker.Domain;
using Broker.Replication;
using Broker.State;
using Broker.Topics;

namespace Broker.Groups;

/// <summary>
/// How far the consumer groups are in the topics of one data shard. Which groups there are says group 0; the shard's
/// leader opens and closes them here (<see cref="GroupDuties"/>). What is settled here never comes again; all else is
/// in the memory of the shard's leader.
/// </summary>
/// <param name="topics">The shard's topics; it stands before this module.</param>
/// <param name="bounds">What it may come to.</param>
internal sealed partial class GroupProgressModule(TopicModule topics, GroupBounds bounds) : StateModule
{
    private const int ForgottenAtOnce = 1_000;

    private SortedDictionary<int, GroupHere> _groups = [];
    private ImmutableHashSet<int> _open = [];
    private GroupDuties? _duties;

    /// <summary>Ranges and counts, over all groups.</summary>
    private int _size;

    // While no topic has come or gone since a look that found nothing, no topic is to be forgotten.
    private long _calmAt = -1;
    private bool _hasForgotten;

    internal override StateSection Section => StateSection.GroupProgress;

    internal override byte SectionFormat => FirstFormat;

    internal override ReadOnlySpan<CommandKind> Commands =>
    [
        CommandKind.OpenGroup,
        CommandKind.SettleRecords,
        CommandKind.SeekGroup,
        CommandKind.CloseGroup,
        CommandKind.BuryRecord,
        CommandKind.ForgetTopics,
        CommandKind.PublishAndSettle,
    ];

    /// <summary>The groups that the shard knows, by number.</summary>
    public IReadOnlyDictionary<int, GroupHere> Groups => _groups;

    /// <summary>
    /// Those of which all starts are said: what is stored in the shard from then on they get. Any thread.
    /// </summary>
    public ImmutableHashSet<int> OpenGroups => Volatile.Read(ref _open);

    /// <summary>The topics of the same shard.</summary>
    public TopicModule Topics => topics;

    /// <summary>
    /// Who hears that a group's progress in a topic is another one, and not only further; -1: in all.
    /// </summary>
    public Action<int, int>? Changed { get; set; }

    /// <summary>Says what the leader is to do because groups come and go; without it nothing.</summary>
    public void AttachDuties(GroupDuties duties) => _duties = duties;

    internal override CommandResult Apply(in ApplyStep step, in Command command)
    {
        var result = command.Kind switch
        {
            CommandKind.OpenGroup => Open(step, GroupCommands.ReadOpen(command)),
            CommandKind.SettleRecords => Settle(step, GroupCommands.ReadSettle(command)),
            CommandKind.SeekGroup => Seek(step, GroupCommands.ReadSeek(command)),
            CommandKind.CloseGroup => Close(step, GroupCommands.ReadClose(command)),
            CommandKind.BuryRecord => Bury(step, GroupCommands.ReadBury(command)),
            CommandKind.PublishAndSettle => PublishAndSettle(step, command),
            _ => Forget(step, GroupCommands.ReadForget(command)),
        };
        result.TimestampUnixMs = step.Entry.TimestampUnixMs;
        return result;
    }

    internal override bool TryWriteDuty(long nowUnixMs, IBufferWriter<byte> command)
    {
        if (!_hasForgotten && TryWriteForget(command))
        {
            // Once in a look. The next look says it again, if it has come to nothing.
            _hasForgotten = true;
            return true;
        }

        if (_duties?.TryWrite(nowUnixMs, command) == true)
        {
            return true;
        }

        _hasForgotten = false;
        return false;
    }

    private static CommandResult Refused(RefusalCode code) => new() { Code = code };

    // One that was told already is told again by a leader that did not know it: the first word holds.
    private CommandResult Open(in ApplyStep step, OpenGroupCommand open)
    {
        step.Hash.Add(((ulong)open.Group << 32) | (uint)open.FirstTopic);
        step.Hash.Add(((ulong)open.EndTopic << 32) | (uint)open.Before);
        if (!_groups.TryGetValue(open.Group, out var group))
        {
            if (open.FirstTopic != 0)
            {
                return Refused(RefusalCode.NotFound);
            }

            if (_groups.Count >= bounds.Groups)
            {
                return Refused(RefusalCode.ResourceExhausted);
            }

            group = new GroupHere(open.Group, open.Before);
            _groups.Add(open.Group, group);
        }
        else if (group.IsOpen || open.FirstTopic != group.OpenedTo)
        {
            return new CommandResult { Duplicate = true };
        }

        foreach (var (number, offset) in open.Starts)
        {
            step.Hash.Add(((ulong)number << 32) ^ (ulong)offset);
            if (topics.Find(number) is { } topic && group.Find(number) is null)
            {
                Invariant.Check(offset <= topic.Parts.Memory.NextOffset, "a group begins within a topic");
                group.Add(new GroupProgress(number, offset, turn: 0));
            }
        }

        group.OpenedTo = Math.Min(Math.Max(open.EndTopic, group.OpenedTo), group.Before);
        if (group.IsOpen)
        {
            Volatile.Write(ref _open, _open.Add(open.Group));
        }

        Changed?.Invoke(open.Group, -1);
        return new CommandResult { Count = open.Starts.Count };
    }

    private CommandResult Settle(in ApplyStep step, SettleCommand settle)
    {
        var code = Find(step, settle.Group, settle.Topic, settle.Turn, out var group, out var progress, out var next);
        foreach (var range in settle.Ranges)
        {
            step.Hash.Add(range.First);
            step.Hash.Add(range.End);
        }

        foreach (var (offset, tried) in settle.Deliveries)
        {
            step.Hash.Add(offset);
            step.Hash.Add(tried.Count);
            step.Hash.Add(tried.WaitMs);
        }

        if (code != RefusalCode.None)
        {
            return Refused(code);
        }

        var (before, settled) = (progress!.Size, 0L);
        foreach (var range in settle.Ranges)
        {
            Invariant.Check(range.Count > 0 && range.End <= next, "what is settled was stored before");

            // A leader lets no group leave so many holes. What closes some has room always.
            if (!HasRoomFor(range, progress, before))
            {
                code = RefusalCode.ResourceExhausted;
                continue;
            }

            settled += progress.Settle(range);
        }

        foreach (var (offset, tried) in settle.Deliveries)
        {
            Invariant.Check(offset < next && tried.Count >= 0, "what is counted was stored before");
            if (_size + progress.Size - before < bounds.Size || progress.Deliveries.ContainsKey(offset))
            {
                var since = tried.WaitMs > 0 ? step.Entry.TimestampUnixMs : 0;
                progress.NoteDeliveries(offset, tried with { SinceUnixMs = since });
            }
        }

        Keep(group!, progress, before);
        return new CommandResult
        {
            Code = code,
            BaseOffset = progress.Settled.Floor,
            Count = (int)Math.Min(settled, int.MaxValue),
        };
    }

    private CommandResult Bury(in ApplyStep step, BuryCommand bury)
    {
        var code = Find(step, bury.Group, bury.Topic, bury.Turn, out var group, out var progress, out var next);
        step.Hash.Add(bury.Offset);
        step.Hash.Add(bury.DeadLetters);
        if (code != RefusalCode.None)
        {
            return Refused(code);
        }

        Invariant.Check(bury.Offset < next, "what is dead was stored before");
        var range = OffsetRange.One(bury.Offset);
        if (progress!.Settled.Contains(bury.Offset))
        {
            return new CommandResult { Duplicate = true, BaseOffset = progress.Settled.Floor };
        }

        if (!HasRoomFor(range, progress, progress.Size))
        {
            return Refused(RefusalCode.ResourceExhausted);
        }

        if (topics.AppendOne(step, bury.DeadLetters, bury.BatchPosition, bury.BatchBytes) < 0)
        {
            return Refused(RefusalCode.NotFound);
        }

        var before = progress.Size;
        progress.Settle(range);
        progress.Dead++;
        Keep(group!, progress, before);
        return new CommandResult { BaseOffset = progress.Settled.Floor, Count = 1 };
    }

    private CommandResult Seek(in ApplyStep step, (int Group, int Topic, long Offset) seek)
    {
        step.Hash.Add(((ulong)seek.Group << 32) | (uint)seek.Topic);
        step.Hash.Add(seek.Offset);
        if (!_groups.TryGetValue(seek.Group, out var group) || topics.Find(seek.Topic) is not { } topic)
        {
            return Refused(RefusalCode.NotFound);
        }

        var next = topic.Parts.Memory.NextOffset;
        if (seek.Offset > next)
        {
            return new CommandResult { Code = RefusalCode.OutOfRange, BaseOffset = next };
        }

        var progress = group.Find(seek.Topic) ?? new GroupProgress(seek.Topic, 0, turn: 0);
        var before = progress.Size;
        progress.Seek(seek.Offset);
        Keep(group, progress, before);
        Changed?.Invoke(seek.Group, seek.Topic);
        return new CommandResult { BaseOffset = seek.Offset };
    }

    private CommandResult Close(in ApplyStep step, int number)
    {
        step.Hash.Add(number);
        if (!_groups.Remove(number, out var group))
        {
            return Refused(RefusalCode.NotFound);
        }

        _size -= group.Progress.Values.Sum(static each => each.Size);
        Volatile.Write(ref _open, _open.Remove(number));
        Changed?.Invoke(number, -1);
        return default;
    }

    private CommandResult Forget(in ApplyStep step, int[] numbers)
    {
        var count = 0;
        foreach (var number in numbers)
        {
            step.Hash.Add(number);
            if (topics.Find(number) is not null)
            {
                continue;
            }

            foreach (var group in _groups.Values)
            {
                if (group.Remove(number) is { } progress)
                {
                    _size -= progress.Size;
                    count++;
                    Changed?.Invoke(group.Number, number);
                }
            }
        }

        return new CommandResult { Count = count };
    }

    /// <summary>A topic's number is never given twice, so what is gone stays gone.</summary>
    private bool TryWriteForget(IBufferWriter<byte> command)
    {
        var version = topics.TopicsVersion;
        if (_calmAt == version)
        {
            return false;
        }

        var gone = new SortedSet<int>();
        foreach (var group in _groups.Values)
        {
            foreach (var number in group.Progress.Keys)
            {
                if (gone.Count < ForgottenAtOnce && topics.Find(number) is null)
                {
                    gone.Add(number);
                }
            }
        }

        if (gone.Count == 0)
        {
            _calmAt = version;
            return false;
        }

        GroupCommands.WriteForget(command, [.. gone]);
        return true;
    }

    private RefusalCode Find(
        in ApplyStep step,
        int number,
        int topicNumber,
        int turn,
        out GroupHere? group,
        out GroupProgress? progress,
        out long next)
    {
        step.Hash.Add(((ulong)number << 32) | (uint)topicNumber);
        step.Hash.Add(turn);
        progress = null;
        next = 0;
        if (!_groups.TryGetValue(number, out group) || !group.IsOpen || topics.Find(topicNumber) is not { } topic)
        {
            return RefusalCode.NotFound;
        }

        next = topic.Parts.Memory.NextOffset;
        progress = group.Find(topicNumber) ?? new GroupProgress(topicNumber, 0, turn: 0);
        return progress.Turn == turn ? RefusalCode.None : RefusalCode.FailedPrecondition;
    }

    private bool HasRoomFor(OffsetRange range, GroupProgress progress, int sizeBefore)
    {
        var ranges = progress.Settled.CountWith(range);
        var more = ranges - progress.Settled.Ranges.Count;
        return more <= 0
            || (ranges <= bounds.RangesPerTopic && _size + progress.Size - sizeBefore + more <= bounds.Size);
    }

    private void Keep(GroupHere group, GroupProgress progress, int sizeBefore)
    {
        _size += progress.Size - sizeBefore;
        if (group.Find(progress.Topic) is null)
        {
            group.Add(progress);
        }
    }
}

/// <summary>A group as one shard knows it.</summary>
/// <param name="number">Given once in a cluster.</param>
/// <param name="before">All topics that were there when it came have numbers below this one.</param>
internal sealed class GroupHere(int number, int before)
{
    private readonly SortedDictionary<int, GroupProgress> _progress = [];

    public int Number { get; } = number;

    public int Before { get; } = before;

    /// <summary>Where it begins in topics below this number was said.</summary>
    public int OpenedTo { get; set; }

    /// <summary>Whether where it begins was said of all; until then nothing is delivered.</summary>
    public bool IsOpen => OpenedTo >= Before;

    /// <summary>By topic's number; of others it wants everything.</summary>
    public IReadOnlyDictionary<int, GroupProgress> Progress => _progress;

    public GroupProgress? Find(int topic) => _progress.GetValueOrDefault(topic);

    public void Add(GroupProgress progress) => _progress.Add(progress.Topic, progress);

    public GroupProgress? Remove(int topic) => _progress.Remove(topic, out var progress) ? progress : null;
}
