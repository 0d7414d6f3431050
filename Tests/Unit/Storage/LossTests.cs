using Broker.Domain;
using Broker.Storage;
using Broker.Tests.Simulation;
using Xunit;

namespace Broker.Tests.Unit.Storage;

/// <summary>What the log cannot go on with: fences, quarantine, a lost vote, a lost base.</summary>
public sealed class LossTests
{
    private readonly LogFixture _fixture = new();

    [Fact]
    public void Damaged_tail_is_set_aside_and_what_was_intact_of_it_stays()
    {
        SmallLog.Write(_fixture);

        // Entry 48; the active segment begins at 45.
        _fixture.Device.Flip(_fixture.SegmentPath(45), SegmentHeader.SizeBytes + (3 * 368) + 100, 1);
        using (var log = _fixture.Open())
        {
            Assert.Equal(new LogPosition(new(52), new(3)), log.Fence);
            Assert.Equal(47, log.LastIndex.Value);
            LogFixture.AssertSame(SmallLog.Entries[..47], LogFixture.ReadAll(log));
            Assert.Equal(["00000000000000000045.log.1"], _fixture.Quarantined());
            log.Write(LogFixture.Append([.. SmallLog.Entries[47..]]));
            log.Write(new LogWrite { Fence = LogPosition.None });
        }

        using var reopened = _fixture.Open();
        Assert.Equal(LogPosition.None, reopened.Fence);
        LogFixture.AssertSame(SmallLog.Entries, LogFixture.ReadAll(reopened));
        Assert.Single(_fixture.Quarantined());
    }

    [Fact]
    public void Fence_names_the_last_intact_frame_of_a_killed_log_and_its_term()
    {
        var log = _fixture.Open();
        log.Write(new LogWrite { HardState = new HardState(new Term(9), NodeId.None) });
        log.Write(LogFixture.AppendRange(1, 2, term: 4));
        log.Write(LogFixture.AppendRange(3, 4, term: 5));
        log.Write(LogFixture.AppendRange(5, 6, term: 6));
        _fixture.Device.Kill();
        _fixture.Device.Flip(_fixture.SegmentPath(1), SegmentHeader.SizeBytes + 10, 1);
        using var reopened = _fixture.Open();
        Assert.Equal(new LogPosition(new(6), new(6)), reopened.Fence);
        Assert.Equal(0, reopened.LastIndex.Value);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(30)]
    public void Damaged_header_of_the_active_segment_is_mended_from_the_vote_file(int at)
    {
        SmallLog.Write(_fixture, isClosed: false);
        _fixture.Device.Flip(_fixture.SegmentPath(45), at, 1);
        for (var start = 0; start < 2; start++)
        {
            using var log = _fixture.Open();
            Assert.Equal(LogPosition.None, log.Fence);
            LogFixture.AssertSame(SmallLog.Entries, LogFixture.ReadAll(log));
        }

        Assert.Empty(_fixture.Quarantined());
    }

    [Fact]
    public void Unused_end_that_is_cut_off_is_given_back()
    {
        SmallLog.Write(_fixture, isClosed: false);
        var length = _fixture.Device.Length(_fixture.SegmentPath(45));
        _fixture.Device.SetLength(_fixture.SegmentPath(45), SegmentHeader.SizeBytes + (8 * 368) + 64);
        using var log = _fixture.Open();
        Assert.Equal(LogPosition.None, log.Fence);
        Assert.Equal(SmallLog.LastIndex, log.LastIndex.Value);
        Assert.Equal(length, _fixture.Device.Length(_fixture.SegmentPath(45)));
    }

    [Fact]
    public void Sealed_segment_that_nothing_describes_cuts_the_log_before_it()
    {
        SmallLog.Write(_fixture);
        _fixture.Device.Flip(_fixture.SegmentPath(12), 9000, 1);
        _fixture.Device.Delete(_fixture.PathOf(GroupFolder.PositionsName(new LogIndex(12))));
        using (var log = _fixture.Open())
        {
            Assert.Equal(new LogPosition(new(52), new(3)), log.Fence);
            LogFixture.AssertSame(SmallLog.Entries[..11], LogFixture.ReadAll(log));
            Assert.Equal(
                ["00000000000000000012.log.1", "00000000000000000045.log.1"], _fixture.Quarantined());
            log.Write(LogFixture.Append([.. SmallLog.Entries[11..]]));
        }

        using var reopened = _fixture.Open();
        LogFixture.AssertSame(SmallLog.Entries, LogFixture.ReadAll(reopened));
    }

    [Fact]
    public void Second_damage_sets_its_files_aside_beside_the_first()
    {
        for (var round = 1; round <= 2; round++)
        {
            if (round == 1)
            {
                SmallLog.Write(_fixture);
            }

            _fixture.Device.Flip(_fixture.SegmentPath(45), SegmentHeader.SizeBytes + 100, 1);
            using var log = _fixture.Open();
            Assert.Equal(44, log.LastIndex.Value);
            Assert.Equal(new LogPosition(new(52), new(3)), log.Fence);
            Assert.Equal(round, _fixture.Quarantined().Count);
            log.Write(LogFixture.Append([.. SmallLog.Entries[44..48]]));
        }
    }

    [Fact]
    public void Lost_base_snapshot_without_a_later_one_begins_the_log_anew()
    {
        SmallLog.WriteWithBase(_fixture);
        _fixture.Device.Flip(_fixture.PathOf(GroupFolder.SnapshotName(new LogIndex(11))), 5000, 1);
        using var log = _fixture.Open();
        Assert.Equal(LogPosition.None, log.Base);
        Assert.Equal(0, log.LastIndex.Value);
        Assert.Equal(new LogPosition(new(52), new(3)), log.Fence);
        Assert.Equal(SmallLog.Voted, log.HardState);
        log.Write(LogFixture.Append([.. SmallLog.Entries]));
    }

    [Fact]
    public void Lost_base_snapshot_does_no_harm_when_there_is_a_later_one()
    {
        SmallLog.WriteWithBase(_fixture);
        using (var log = _fixture.Open())
        {
            var later = new LogPosition(new LogIndex(44), new Term(3));
            log.Snapshots.Write(later, GroupConfiguration.None, new byte[10]);
        }

        _fixture.Device.Delete(_fixture.PathOf(GroupFolder.SnapshotName(new LogIndex(11))));
        using var reopened = _fixture.Open();
        Assert.Equal(11, reopened.Base.Index.Value);
        Assert.Equal(LogPosition.None, reopened.Fence);
    }

    [Fact]
    public void Later_snapshot_beyond_a_damaged_segment_does_not_make_up_for_a_lost_one_at_the_base()
    {
        SmallLog.WriteWithBase(_fixture);
        using (var log = _fixture.Open())
        {
            var later = new LogPosition(new LogIndex(44), new Term(3));
            log.Snapshots.Write(later, GroupConfiguration.None, new byte[10]);
        }

        _fixture.Device.Delete(_fixture.PathOf(GroupFolder.SnapshotName(new LogIndex(11))));
        _fixture.Device.Flip(_fixture.SegmentPath(12), 9000, 1);
        _fixture.Device.Delete(_fixture.PathOf(GroupFolder.PositionsName(new LogIndex(12))));
        using var reopened = _fixture.Open();
        Assert.Equal(LogPosition.None, reopened.Base);
        Assert.Equal(0, reopened.LastIndex.Value);
        Assert.Equal(new LogPosition(new(52), new(3)), reopened.Fence);
        reopened.Write(LogFixture.Append([.. SmallLog.Entries]));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Lost_vote_sets_everything_aside_and_opens_as_lost(bool isDeleted)
    {
        var passive = new HardState(new Term(1), NodeId.None, new LogIndex(3));
        SmallLog.WriteWithBase(_fixture);
        var names = _fixture.Device.List(LogFixture.Folder);
        if (isDeleted)
        {
            _fixture.Device.Delete(_fixture.PathOf("vote"));
        }
        else
        {
            _fixture.Device.Flip(_fixture.PathOf("vote"), 24, 1);
            _fixture.Device.Flip(_fixture.PathOf("vote"), 4096 + 24, 1);
        }

        using (var log = _fixture.Open())
        {
            Assert.Equal(HardState.Lost, log.HardState);
            Assert.Equal(GroupConfiguration.None, log.Configuration);
            Assert.Equal(0, log.LastIndex.Value);
            Assert.Equal(["vote"], _fixture.Device.List(LogFixture.Folder));
            var kept = names.Where(name => !name.EndsWith(".pos", StringComparison.Ordinal)
                && !name.EndsWith(".idx", StringComparison.Ordinal) && (name != "vote" || !isDeleted));
            Assert.Equal(kept.Select(name => name + ".1"), _fixture.Quarantined());
            var write = LogFixture.AppendRange(1, 3);
            write.HardState = passive;
            log.Write(write);
        }

        using var reopened = _fixture.Open();
        Assert.Equal(passive, reopened.HardState);
        Assert.Equal(3, reopened.LastIndex.Value);
    }

    /// <summary>The group has gone on without what the log has: the replica said so before it ended.</summary>
    [Fact]
    public void Log_that_was_given_up_is_set_aside_and_its_term_stays()
    {
        SmallLog.WriteWithBase(_fixture);
        var lost = new HardState(new Term(7), new NodeId(2), HardState.Lost.PassiveUntil);
        string[] segments;
        using (var log = _fixture.Open())
        {
            segments = [.. _fixture.Device.List(LogFixture.Folder)
                .Where(static name => name.EndsWith(".log", StringComparison.Ordinal))];
            log.Write(new LogWrite { HardState = lost });
        }

        using var reopened = _fixture.Open();
        Assert.Equal(lost, reopened.HardState);
        Assert.Equal(LogPosition.None, reopened.Base);
        Assert.Equal(0, reopened.LastIndex.Value);
        Assert.Empty(reopened.Configuration!.Voters);
        Assert.All(segments, segment => Assert.Contains($"{segment}.1", _fixture.Quarantined()));
    }

    [Fact]
    public void Empty_folder_is_a_new_group_unless_the_group_is_known()
    {
        using (var log = _fixture.Open())
        {
            Assert.Equal(default, log.HardState);
        }

        var emptied = new LogFixture();
        using var lost = emptied.Open(isKnown: true);
        Assert.Equal(HardState.Lost, lost.HardState);
    }

    [Fact]
    public void Known_group_that_is_there_is_not_lost()
    {
        SmallLog.Write(_fixture);
        using var log = _fixture.Open(isKnown: true);
        Assert.Equal(SmallLog.Voted, log.HardState);
    }

    [Theory]
    [InlineData("tail")]
    [InlineData("vote")]
    [InlineData("base")]
    [InlineData("sealed")]
    public void Power_cut_in_any_operation_of_such_a_start_forgets_nothing(string damage)
    {
        SmallLog.WriteWithBase(_fixture);
        var path = damage switch
        {
            "tail" => _fixture.SegmentPath(45),
            "vote" => _fixture.PathOf("vote"),
            "base" => _fixture.PathOf(GroupFolder.SnapshotName(new LogIndex(11))),
            _ => _fixture.SegmentPath(12),
        };
        _fixture.Device.Delete(path);
        if (damage == "sealed")
        {
            _fixture.Device.Delete(_fixture.PathOf(GroupFolder.PositionsName(new LogIndex(12))));
        }

        foreach (var mode in Enum.GetValues<SimulatedDeviceCrash>())
        {
            var cutAt = 0;
            for (var isCut = true; isCut; cutAt++)
            {
                var fixture = new LogFixture(_fixture.Device.Clone(cutAt));
                isCut = CutStart(fixture, cutAt + 1);
                fixture.Device.Crash(mode);
                var outcome = SmallLog.Check(fixture, SmallLog.LastIndex, $"{damage}, cut at {cutAt}, {mode}");
                Assert.Equal(damage == "vote" ? SmallLog.Outcome.Lost : SmallLog.Outcome.Fenced, outcome);
                Assert.Equal(
                    damage == "vote" ? 3 : damage == "sealed" ? 1 : damage == "tail" ? 0 : 2,
                    fixture.Quarantined().Count);
            }

            Assert.InRange(cutAt, 5, 60);
        }
    }

    [Fact]
    public void Opening_reads_of_sealed_segments_only_headers_and_directories()
    {
        SmallLog.Write(_fixture);
        var reads = new List<(string Path, long Bytes)>();
        var device = new WatchedDevice(_fixture.Device, onRead: (path, _, count) => reads.Add((path, count)));
        using var log = _fixture.Open(device);
        var bytes = reads.Where(read => read.Path == _fixture.SegmentPath(12)).Sum(read => read.Bytes);
        Assert.Equal(SegmentHeader.SizeBytes, bytes);
        reads.Clear();
        Assert.Equal(1, log.Read(new LogIndex(20), new LogIndex(20), 1, []));
        Assert.Contains(reads, read => read.Path.EndsWith("012.pos", StringComparison.Ordinal));
        reads.Clear();
        Assert.Equal(1, log.Read(new LogIndex(30), new LogIndex(30), 1, []));
        Assert.Equal([(_fixture.SegmentPath(12), 368L)], reads);
    }

    [Theory]
    [InlineData(12, 0)]
    [InlineData(12, 8192)]
    [InlineData(45, 0)]
    [InlineData(45, 4096)]
    public void Block_that_the_disk_cannot_read_is_as_good_as_damaged(long first, long offset)
    {
        SmallLog.Write(_fixture);
        var device = new WatchedDevice(_fixture.Device, onRead: (path, at, count) =>
        {
            if (path == _fixture.SegmentPath(first) && at < offset + 4096 && at + count > offset)
            {
                throw new IOException("Simulated: a bad block.");
            }
        });
        using var log = _fixture.Open(device);
        if (first == 45 && offset > 0)
        {
            Assert.True(log.Fence >= new LogPosition(new(52), new(3)));
            Assert.Equal(44, log.LastIndex.Value);
            return;
        }

        Assert.Equal(LogPosition.None, log.Fence);
        Assert.Equal(SmallLog.LastIndex, log.LastIndex.Value);
        if (offset > 0)
        {
            Assert.Throws<StorageCorruptException>(() => LogFixture.ReadAll(log));
        }

        // The vote file knows what the active segment's header says.
        Assert.Equal(first == 12, log.SealedSegments[1].IsDamaged);
    }

    private static bool CutStart(LogFixture fixture, int cutAt)
    {
        fixture.Device.PowerCutAt = fixture.Device.OperationCount + cutAt;
        try
        {
            fixture.Open();
            return false;
        }
        catch (SimulatedPowerCutException)
        {
            return true;
        }
    }
}
