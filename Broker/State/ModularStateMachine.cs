using System.Buffers;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Replication;

namespace Broker.State;

/// <summary>
/// A group's replicated state, made of modules: takes entries apart, brings each command to the module of its kind, and
/// puts the modules' sections together into snapshots. What it is made of says the class that derives from it.
/// <code>
/// snapshot: u8 kind of machine | u8 format 4 | varint last applied index | varint its timestamp | u64 state hash
///           | varint sections | for each, in the order of the modules: u8 section | u8 its format
///           | what its module writes
/// </code>
/// Formats below 4 are of before there were modules; the machines that had them still read them.
/// </summary>
public abstract class ModularStateMachine : IStateMachine
{
    private const byte SnapshotFormat = 4;

    private readonly byte _kind;
    private readonly StateModule[] _modules;
    private readonly IIndexedModule? _indexed;
    private readonly StateModule?[] _byCommand = new StateModule?[byte.MaxValue + 1];
    private LogIndex _lastApplied;
    private long _lastTimestampUnixMs;
    private StateHasher _hash;
    private int _nextDuty;

    /// <param name="kind">The first byte of its snapshots.</param>
    /// <param name="modules">In the order of their sections.</param>
    private protected ModularStateMachine(byte kind, params StateModule[] modules)
    {
        _kind = kind;
        _modules = modules;
        _indexed = modules.OfType<IIndexedModule>().SingleOrDefault();
        foreach (var module in modules)
        {
            foreach (var command in module.Commands)
            {
                Invariant.Check(_byCommand[(byte)command] is null, "a kind of command belongs to one module");
                _byCommand[(byte)command] = module;
            }
        }
    }

    /// <summary>The one module of a type.</summary>
    internal TModule Module<TModule>()
        where TModule : StateModule => _modules.OfType<TModule>().Single();

    public ulong StateHash => _hash.Value;

    public long LastTimestampUnixMs => Volatile.Read(ref _lastTimestampUnixMs);

    public bool KeepsIndexes => _indexed is not null;

    public virtual bool IsAwaited => true;

    public LogIndex FirstNeeded
    {
        get
        {
            var first = new LogIndex(long.MaxValue);
            foreach (var module in _modules)
            {
                first = LogIndex.Min(first, module.FirstNeeded);
            }

            return first;
        }
    }

    public void Apply(LogEntry entry, Span<CommandResult> results)
    {
        Invariant.Check(entry.Kind == EntryKind.Commands, "only entries of commands are applied");
        Invariant.Check(entry.Index > _lastApplied, "entries are applied in log order, each once");
        Invariant.Check(entry.TimestampUnixMs >= _lastTimestampUnixMs, "a group's time never goes back");
        Invariant.Check(results.IsEmpty || results.Length >= entry.Count, "there is a result slot for every command");
        foreach (var module in _modules)
        {
            module.PassTime(_lastTimestampUnixMs, entry.TimestampUnixMs);
            module.BeginEntry(entry);
        }

        _lastApplied = entry.Index;
        _lastTimestampUnixMs = entry.TimestampUnixMs;
        _hash.Add(entry.Index.Value);
        _hash.Add(entry.TimestampUnixMs);

        var ordinal = 0;
        foreach (var command in new CommandSequence(entry.Body))
        {
            var module = _byCommand[(byte)command.Kind];
            Invariant.Check(module is not null, "a group's log holds commands that its state machine knows");
            Invariant.Check(ordinal < entry.Count, "an entry has as many commands as its header says");
            var result = module.Apply(new ApplyStep(entry, ref _hash), command);
            AddToHash(command.Kind, result);
            if (!results.IsEmpty)
            {
                results[ordinal] = result;
            }

            ordinal++;
        }

        Invariant.Check(ordinal == entry.Count, "an entry has as many commands as its header says");
        foreach (var module in _modules)
        {
            module.EndEntry();
        }
    }

    public virtual int FindTraces(LogEntry entry, Span<TracedPublish> into) => 0;

    public long NextDutyUnixMs
    {
        get
        {
            var next = long.MaxValue;
            foreach (var module in _modules)
            {
                next = Math.Min(next, module.NextDutyUnixMs);
            }

            return next;
        }
    }

    public bool TryWriteDuty(long nowUnixMs, IBufferWriter<byte> command)
    {
        // By turns, so that a module with much to do leaves the others theirs.
        for (var i = 0; i < _modules.Length; i++)
        {
            var module = _modules[_nextDuty];
            _nextDuty = (_nextDuty + 1) % _modules.Length;
            if (module.TryWriteDuty(nowUnixMs, command))
            {
                return true;
            }
        }

        return false;
    }

    public void WriteSnapshot(IBufferWriter<byte> into)
    {
        var writer = new SnapshotWriter(into);
        writer.PutByte(_kind);
        writer.PutByte(SnapshotFormat);
        writer.PutVarint(_lastApplied.Value);
        writer.PutVarint(_lastTimestampUnixMs);
        writer.PutUInt64(_hash.Value);
        writer.PutVarint(_modules.Count(static module => module.HasSection));
        foreach (var module in _modules)
        {
            if (!module.HasSection)
            {
                continue;
            }

            writer.PutByte((byte)module.Section);
            writer.PutByte(module.SectionFormat);
            module.Write(ref writer);
        }

        writer.Finish();
    }

    public void Restore(ReadOnlySpan<byte> snapshot)
    {
        var moment = new SnapshotMoment(LogIndex.None, 0);
        var hash = 0UL;
        Action?[] puts = new Action?[_modules.Length];
        if (!snapshot.IsEmpty)
        {
            var reader = new SnapshotReader(snapshot);
            reader.Check(reader.TakeByte() == _kind, "it is one of this kind of group");
            var format = reader.TakeByte();
            moment = new SnapshotMoment(
                new LogIndex(reader.TakeVarint(long.MaxValue)),
                HasTimestamp(format) ? reader.TakeVarint(long.MaxValue) : 0);
            hash = reader.TakeUInt64();
            if (format == SnapshotFormat)
            {
                ReadSections(ref reader, moment, puts);
            }
            else
            {
                // Of before there were modules: what follows is the first one's section, in the format of that number.
                reader.Check(IsFormerFormat(format), "its format is one that this version knows");
                puts[0] = _modules[0].Read(ref reader, format, moment);
            }

            reader.CheckEnd();
        }

        _lastApplied = moment.Index;
        _lastTimestampUnixMs = moment.TimestampUnixMs;
        _hash = new StateHasher(hash);
        for (var i = 0; i < puts.Length; i++)
        {
            (puts[i] ?? _modules[i].Clear)();
        }

        foreach (var module in _modules)
        {
            module.EndRestore();
        }
    }

    public bool TryWriteIndex(
        LogIndex first, LogIndex last, IBufferWriter<byte> directory, IBufferWriter<byte> body) =>
        _indexed?.TryWriteIndex(first, last, directory, body) == true;

    public void UseIndex(LogIndex first, LogIndex last, ReadOnlyMemory<byte> directory)
    {
        if (_indexed is null)
        {
            throw new InvalidDataException("This group's state keeps no index of its log.");
        }

        _indexed.UseIndex(first, last, directory);
    }

    public void DropIndexes(LogIndex through) => _indexed?.DropIndexes(through);

    public ILogThinning? LookForThinning() => _indexed?.LookForThinning();

    public IEntryThinner? MakeHollower(LogIndex first, LogIndex last) => _indexed?.MakeHollower(first, last);

    public abstract IStateMachine MakeShadow();

    /// <summary>Whether a snapshot of before there were modules can be read.</summary>
    private protected virtual bool IsFormerFormat(byte format) => false;

    /// <summary>Whether such a snapshot says the time of its last entry.</summary>
    private protected virtual bool HasTimestamp(byte format) => true;

    private void ReadSections(ref SnapshotReader reader, in SnapshotMoment moment, Action?[] puts)
    {
        var at = -1;
        for (var left = reader.TakeCount(_modules.Length, 2); left > 0; left--)
        {
            var section = (StateSection)reader.TakeByte();
            var found = Array.FindIndex(_modules, module => module.Section == section);
            reader.Check(found > at, "its sections are known to this version and stand in rising order");
            at = found;
            puts[at] = _modules[at].Read(ref reader, reader.TakeByte(), moment);
        }
    }

    private void AddToHash(CommandKind kind, in CommandResult result)
    {
        _hash.Add(((ulong)kind << 48) | ((ulong)result.Code << 33) | ((result.Duplicate ? 1UL : 0UL) << 32)
            | (uint)result.Count);
        _hash.Add(result.BaseOffset);
        _hash.Add(result.Expected);
    }
}
