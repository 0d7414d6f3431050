using System.Collections.Immutable;
using Broker.Domain;
using Broker.Storage;
using Broker.Tests.Simulation;
using Xunit;

namespace Broker.Tests.Unit.Storage;

/// <summary>
/// Cuts the power in every single operation of a random workload with snapshots, drops, configurations, fences and
/// replaced segments: what recovery finds is the state before or after each step of the write that was under way.
/// </summary>
public sealed class BasePowerCutTests
{
    private static readonly GroupConfiguration First = new(LogIndex.None, [new(1), new(2), new(3)], []);

    [Theory]
    [InlineData(SimulatedDeviceCrash.DropUnsynced)]
    [InlineData(SimulatedDeviceCrash.KeepUnsynced)]
    [InlineData(SimulatedDeviceCrash.Shuffle)]
    public void Power_cut_in_any_operation_leaves_the_state_before_or_after_a_step(SimulatedDeviceCrash mode)
    {
        var done = new HashSet<string>();
        for (var seed = 1; seed <= 3; seed++)
        {
            var cutAt = 1L;
            while (new Workload(seed, cutAt, mode, done).Run())
            {
                cutAt++;
            }

            Assert.InRange(cutAt, 100, 2000);
        }

        Assert.Equal(["append", "configure", "drop", "fence", "install", "large", "replace", "truncate"], done.Order());
    }

    /// <summary>What a log is, as far as anyone can see.</summary>
    private sealed record State(
        HardState HardState,
        LogPosition Base,
        LogPosition Fence,
        GroupConfiguration? Configuration,
        GroupConfiguration? Previous,
        ImmutableList<LogEntry> Entries)
    {
        public static readonly State New = new(default, default, default, null, null, []);

        public LogIndex Last => Base.Index + Entries.Count;

        public GroupConfiguration? Effective => Configuration?.Index > Last ? Previous : Configuration;

        /// <summary>What may be found when this write is cut off, the last one when it is not.</summary>
        public IEnumerable<State> Steps(LogWrite write)
        {
            yield return this;
            var state = this with
            {
                HardState = write.HardState ?? HardState,
                Fence = write.Fence ?? Fence,
                Configuration = write.Configuration ?? Configuration,
                Previous = write.Configuration is null ? Previous : write.PreviousConfiguration,
            };
            if (write.Snapshot is { } snapshot)
            {
                state = state with
                {
                    Base = snapshot.Position,
                    Entries = [],
                    Configuration = snapshot.Configuration,
                    Previous = null,
                };
            }
            else if (write.TruncateFrom is { } from)
            {
                var kept = (int)(from - Base.Index) - 1;
                state = state with { Entries = Entries.RemoveRange(kept, Entries.Count - kept) };
            }

            yield return state;
            if (write.DropThrough is { } through)
            {
                var count = (int)(through - state.Base.Index);
                state = state with
                {
                    Base = new LogPosition(through, state.Entries[count - 1].Term),
                    Entries = state.Entries.RemoveRange(0, count),
                };
                yield return state;
            }

            foreach (var entry in write.Entries)
            {
                state = state with { Entries = state.Entries.Add(entry) };
                yield return state;
            }
        }

        public bool IsThatOf(GroupLog log)
        {
            if ((log.HardState, log.Base, log.Fence, log.LastIndex) != (HardState, Base, Fence, Last)
                || !Equals(log.Configuration, Effective))
            {
                return false;
            }

            var entries = LogFixture.ReadAll(log);
            return entries.Zip(Entries).All(static pair => LogFixture.AreSame(pair.First, pair.Second));
        }
    }

    private sealed class Workload(int seed, long cutAt, SimulatedDeviceCrash mode, HashSet<string> done)
    {
        private readonly Random _random = new(seed);
        private readonly LogFixture _fixture = new((seed * 7919) + (int)cutAt);
        private State _state = State.New;
        private LogWrite? _inFlight;

        /// <summary>False when the workload ended before the cut.</summary>
        public bool Run()
        {
            _fixture.Device.PowerCutAt = cutAt;
            var isCut = false;
            try
            {
                using var log = _fixture.Open();
                for (var i = 0; i < 24; i++)
                {
                    Step(log);
                }
            }
            catch (SimulatedPowerCutException)
            {
                isCut = true;
            }

            _fixture.Device.Crash(mode);
            CutDuringRecovery();
            using (var log = _fixture.Open())
            {
                Check(log);
                var next = LogFixture.Entry(log.LastIndex.Value + 1, 99, 700);
                log.Write(LogFixture.Append(next));
                _state = _state with { Entries = _state.Entries.Add(next) };
                _inFlight = null;
            }

            _fixture.Device.Crash(SimulatedDeviceCrash.DropUnsynced);
            using var again = _fixture.Open();
            Check(again);
            return isCut;
        }

        private void Check(GroupLog log)
        {
            var legal = _inFlight is null ? [_state] : _state.Steps(_inFlight).ToList();
            var found = legal.Find(state => state.IsThatOf(log));
            Assert.True(found is not null, $"seed {seed}, cut at {cutAt}, {mode}: {log.Base} .. {log.LastIndex}");
            Assert.DoesNotContain(log.SealedSegments, segment => segment.IsDamaged);
            Assert.Empty(_fixture.Quarantined());
            Assert.True(log.Base == LogPosition.None || log.Snapshots.TryRead(log.Base.Index, out _));

            // What a start has not found is forgotten, and does not come back when another entry takes its place.
            _state = found with
            {
                Configuration = found.Effective,
                Previous = found.Configuration?.Index > found.Last ? null : found.Previous,
            };
        }

        private void CutDuringRecovery()
        {
            _fixture.Device.PowerCutAt = _fixture.Device.OperationCount + _random.Next(1, 12);
            try
            {
                _fixture.Open();
            }
            catch (SimulatedPowerCutException)
            {
                // The cut that this method is for.
            }

            _fixture.Device.Crash(mode);
        }

        private void Step(GroupLog log)
        {
            switch (_random.Next(12))
            {
                case 0 when log.SealedSegments.Count > 0:
                    Replace(log);
                    break;
                case 1 or 2 when log.SealedSegments.Count > 0:
                    Drop(log);
                    break;
                case 3 when log.LastIndex.Value > 20:
                    Write(log, "install", Install());
                    break;
                case 4 when _state.Entries.Count > 0:
                    Write(log, "truncate", Truncation());
                    break;
                case 5 when log.SealedSegments.Count > 0:
                    // Truncated to where a segment begins, which is then too small for what follows.
                    var from = log.SealedSegments[^1].Last.Next();
                    if (from > (_state.Configuration?.Index ?? default))
                    {
                        Write(log, "truncate", new LogWrite { TruncateFrom = from });
                        var write = Append(0);
                        var term = write.HardState!.Value.Term;
                        write.Entries.Add(LogFixture.Entry(from.Value, term.Value, bodyBytes: 20_000));
                        Write(log, "large", write);
                    }

                    break;
                case 6:
                    var fence = _state.Fence == default ? new LogPosition(new(_random.Next(1, 99)), new(3)) : default;
                    Write(log, "fence", new LogWrite { Fence = fence });
                    break;
                case 7:
                    Write(log, "configure", Configuration());
                    break;
                default:
                    Write(log, "append", Append(_random.Next(1, 16)));
                    break;
            }
        }

        private void Write(GroupLog log, string what, LogWrite write)
        {
            _inFlight = write;
            log.Write(write);
            _state = _state.Steps(write).Last();
            _inFlight = null;
            Assert.True(_state.IsThatOf(log), $"seed {seed}: after {what}");
            done.Add(what);
        }

        private void Replace(GroupLog log)
        {
            var segment = log.SealedSegments[_random.Next(log.SealedSegments.Count)];
            var entries = _state.Entries.Where(entry => entry.Index >= segment.First && entry.Index <= segment.Last);
            log.ReplaceSegment(segment.First, entries);
            done.Add("replace");
        }

        private void Drop(GroupLog log)
        {
            var through = log.SealedSegments[_random.Next(log.SealedSegments.Count)].Last;
            var position = new LogPosition(through, _state.Entries[(int)(through - log.Base.Index) - 1].Term);
            log.Snapshots.Write(position, First, new byte[_random.Next(5000)]);
            Write(log, "drop", new LogWrite { DropThrough = through });
        }

        private LogWrite Install()
        {
            var index = _state.Last + _random.Next(-5, 50);
            var term = _state.HardState.Term.Next();
            return new LogWrite
            {
                HardState = new HardState(term, NodeId.None),
                Snapshot = new StateSnapshot(
                    new LogPosition(LogIndex.Max(index, _state.Base.Index.Next()), term),
                    First.At(_state.Base.Index),
                    new byte[_random.Next(5000)]),
            };
        }

        private LogWrite Truncation()
        {
            // A truncation leads back over one configuration at most.
            var first = LogIndex.Max(_state.Base.Index, _state.Previous?.Index ?? default).Next();
            var from = LogIndex.Max(first, _state.Last + _random.Next(-20, 1));
            var write = Append(_random.Next(4), LogIndex.Min(from, _state.Last));
            write.TruncateFrom = LogIndex.Min(from, _state.Last);
            if (_state.Configuration?.Index >= write.TruncateFrom)
            {
                write.Configuration = _state.Previous;
            }

            return write;
        }

        private LogWrite Configuration()
        {
            var write = Append(1);
            write.PreviousConfiguration = _state.Effective ?? First;
            write.Configuration = new GroupConfiguration(write.Entries[0].Index, [new(_random.Next(1, 9))], []);
            return write;
        }

        private LogWrite Append(int count, LogIndex? from = null)
        {
            var write = new LogWrite { HardState = _state.HardState with { Term = _state.HardState.Term.Next() } };
            var first = (from ?? _state.Last.Next()).Value;
            for (var i = 0; i < count; i++)
            {
                write.Entries.Add(LogFixture.Entry(first + i, write.HardState.Value.Term.Value, _random.Next(1500)));
            }

            return write;
        }
    }
}
