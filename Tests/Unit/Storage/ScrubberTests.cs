using Broker.Domain;
using Broker.Storage;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Broker.Tests.Unit.Storage;

public sealed class ScrubberTests : IDisposable
{
    private const int Rate = 64 * 1024;
    private const int Piece = 16 * 1024;
    private readonly SideFileFixture _fixture = new();
    private readonly ManualClock _clock = new();
    private readonly IndexFiles _indexes;
    private readonly SnapshotFiles _snapshots;
    private readonly SideFilesOnly _log;

    public ScrubberTests()
    {
        _indexes = _fixture.Indexes();
        _snapshots = _fixture.Snapshots();
        _log = new SideFilesOnly(_indexes, _snapshots);
        foreach (var first in new[] { 1, 40, 90 })
        {
            _indexes.Write(
                new LogIndex(first), new LogIndex(first + 9), [1, 2], SideFileFixture.Bytes(100_000, first));
        }

        _snapshots.Write(SideFileFixture.At(39), SideFileFixture.Configuration, SideFileFixture.Bytes(50_000, 7));
        _snapshots.Write(SideFileFixture.At(89), SideFileFixture.Configuration, []);
    }

    public void Dispose() => _indexes.Dispose();

    [Fact]
    public void Flipped_byte_anywhere_is_found_within_one_pass()
    {
        string[] paths =
        [
            SideFileFixture.IndexPath(1), SideFileFixture.IndexPath(40), SideFileFixture.IndexPath(90),
            SideFileFixture.SnapshotPath(39), SideFileFixture.SnapshotPath(89),
        ];
        foreach (var path in paths)
        {
            for (var offset = 5L; offset < _fixture.Device.Length(path); offset += 2999)
            {
                var fixture = new SideFileFixture(_fixture.Device.Clone(1));
                fixture.Device.Flip(path, offset, 8);
                using var indexes = fixture.Indexes();
                var snapshots = fixture.Snapshots();
                var scrubber = New(new SideFilesOnly(indexes, snapshots), chosen: (int)offset % 5);
                RunPass(scrubber);
                Assert.Equal(1, scrubber.DamagedFiles);

                // The owner knows, so that the next pass has one file less to check.
                var isNoted = new[] { 1, 40, 90 }.Any(first => indexes.IsDamaged(new LogIndex(first)));
                Assert.True(isNoted || snapshots.List().Count == 1, $"{path} at {offset}");
            }
        }
    }

    [Fact]
    public void Sound_files_pass_and_are_read_once()
    {
        var scrubber = New(_log);
        RunPass(scrubber);
        Assert.Equal(0, scrubber.DamagedFiles);
        var all = _fixture.Device.List(SideFileFixture.Folder)
            .Sum(name => _fixture.Device.Length(Path.Combine(SideFileFixture.Folder, name)));

        // Each piece reads its file's header again.
        Assert.InRange(scrubber.VerifiedBytes, all, all + (all / Piece * 4096) + (5 * 4096));
        Assert.Equal(1, scrubber.Passes);
    }

    [Fact]
    public void Rate_is_kept_whatever_the_caller_does()
    {
        var scrubber = New(_log);
        var began = _clock.Now;
        while (scrubber.Passes == 0)
        {
            scrubber.Step();
            _clock.Advance(TimeSpan.FromMilliseconds(1));
            var allowed = (Rate * (_clock.Now - began).TotalSeconds) + Piece + 4096;
            Assert.True(scrubber.VerifiedBytes <= allowed, $"{scrubber.VerifiedBytes} bytes after {_clock.Now}");
        }

        var seconds = (_clock.Now - began).TotalSeconds;
        Assert.InRange(scrubber.VerifiedBytes / seconds, Rate * 0.9, Rate * 1.1);
    }

    [Fact]
    public void Next_pass_begins_an_interval_after_the_beginning_of_the_last_one()
    {
        var scrubber = New(_log);
        var began = _clock.Now;
        RunPass(scrubber);
        var bytes = scrubber.VerifiedBytes;
        while (scrubber.VerifiedBytes == bytes)
        {
            _clock.Advance(scrubber.Step());
        }

        Assert.InRange((_clock.Now - began).TotalHours, 1, 1.01);
        RunPass(scrubber);
        Assert.Equal(2, scrubber.Passes);
    }

    [Fact]
    public void Pass_over_nothing_waits_for_the_next_one()
    {
        var scrubber = new Scrubber(() => [], Options(0), _clock, NullLogger.Instance);
        RunPass(scrubber);
        Assert.Equal(TimeSpan.FromHours(1), scrubber.Step());
    }

    [Fact]
    public void Files_that_vanish_during_a_pass_are_no_damage()
    {
        var scrubber = New(_log);
        _clock.Advance(scrubber.Step());
        _indexes.Delete(new LogIndex(40));
        _snapshots.DeleteBelow(new LogIndex(89));
        RunPass(scrubber);
        Assert.Equal(0, scrubber.DamagedFiles);
    }

    [Fact]
    public void Log_that_fails_does_not_keep_others_from_being_checked()
    {
        _fixture.Device.Flip(SideFileFixture.IndexPath(90), 9000, 1);
        IScrubbed[] logs = [new Failing(failsToList: true), new Failing(failsToList: false), _log];
        var scrubber = new Scrubber(() => logs, Options(0), _clock, NullLogger.Instance);
        RunPass(scrubber);
        Assert.Equal(1, scrubber.DamagedFiles);
    }

    [Fact]
    public async Task Loop_runs_passes_on_its_own_until_it_is_cancelled()
    {
        _fixture.Device.Flip(SideFileFixture.IndexPath(90), 9000, 1);
        var scrubber = New(_log);
        using var stop = new CancellationTokenSource();
        var loop = scrubber.RunAsync(stop.Token);
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        while (scrubber.Passes < 2)
        {
            deadline.Token.ThrowIfCancellationRequested();
            if (_clock.WaitingTimers > 0)
            {
                _clock.Advance(TimeSpan.FromMinutes(1));
            }

            await Task.Yield();
        }

        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => loop);
        Assert.True(_indexes.IsDamaged(new LogIndex(90)));
        Assert.Equal(1, scrubber.DamagedFiles);
    }

    private static ScrubberOptions Options(int chosen) => new()
    {
        RateBytesPerSecond = Rate,
        PieceBytes = Piece,
        Interval = TimeSpan.FromHours(1),
        ChooseFirst = count => chosen % count,
    };

    private Scrubber New(IScrubbed log, int chosen = 0) =>
        new(() => [log], Options(chosen), _clock, NullLogger.Instance);

    private void RunPass(Scrubber scrubber)
    {
        for (var passes = scrubber.Passes; scrubber.Passes == passes;)
        {
            _clock.Advance(scrubber.Step());
        }
    }

    private sealed class SideFilesOnly(IndexFiles indexes, SnapshotFiles snapshots) : IScrubbed
    {
        public GroupId Group => LogFixture.Group;

        public IReadOnlyList<ScrubItem> ScrubItems() =>
        [
            .. indexes.List().Where(first => !indexes.IsDamaged(first))
                .Select(first => new ScrubItem(ScrubKind.Index, first)),
            .. snapshots.List().Select(index => new ScrubItem(ScrubKind.Snapshot, index)),
        ];

        public ScrubPiece Verify(ScrubItem item, long cursor, int maxBytes) => item.Kind == ScrubKind.Index
            ? indexes.Verify(item.First, cursor, maxBytes)
            : snapshots.Verify(item.First, cursor, maxBytes);
    }

    private sealed class Failing(bool failsToList) : IScrubbed
    {
        public GroupId Group => new(9);

        public IReadOnlyList<ScrubItem> ScrubItems() =>
            failsToList ? throw new ObjectDisposedException("log") : [new ScrubItem(ScrubKind.Segment, default)];

        public ScrubPiece Verify(ScrubItem item, long cursor, int maxBytes) => throw new StorageException("failed");
    }
}
