using Broker.Domain;
using Broker.Replication;
using Broker.State;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.Topics;

/// <summary>
/// An entry's topics are looked for before its first command is applied. No result may show it: the same commands, each
/// in an entry of its own, for which nothing is looked for ahead, give the same.
/// </summary>
public sealed class TopicLookaheadTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void Commands_of_one_entry_do_what_they_do_one_by_one(int seed)
    {
        var (together, apart) = (RandomLog.NewMachine(), RandomLog.NewMachine());
        var index = 0L;
        foreach (var entry in new RandomLog(seed).Take(3_000))
        {
            var (some, others) = (new CommandResult[entry.Count], new List<CommandResult>());
            together.Apply(entry, some);
            foreach (var command in CommandsOf(entry))
            {
                var one = new CommandResult[1];
                apart.Apply(
                    new LogEntry(
                        new LogIndex(++index),
                        entry.Term,
                        entry.Kind,
                        1,
                        entry.TimestampUnixMs,
                        Crc32C.Compute(command),
                        command),
                    one);
                others.Add(one[0]);
            }

            Assert.Equal(some.Select(TextOf), others.Select(TextOf));
        }

        Assert.Equal(PlacesOf(together), PlacesOf(apart));
    }

    [Fact]
    public void A_topic_that_goes_and_comes_within_an_entry_is_another_one()
    {
        var machine = new TopicStateMachine(new NoSink(), new TopicBounds());
        var entries = new Entries();
        machine.Apply(entries.Publish("a", 7), []);
        var results = new CommandResult[6];
        machine.Apply(
            entries.Of(
                Entries.PublishCommand("a", Entries.Batch(1)),
                Entries.Metadata(static into => TopicCommands.WriteDeleteTopic(into, "a")),
                Entries.PublishCommand("a", Entries.Batch(2), 2),
                Entries.PublishCommand("b", Entries.Batch(1)),
                Entries.PublishCommand("a", Entries.Batch(1)),
                Entries.PublishCommand("b", Entries.Batch(1))),
            results);
        Assert.Equal(
            [(7L, 0), (0, 1), (0, 2), (2, 1), (1, 2)],
            results.Where((_, i) => i != 1).Select(static each => (each.BaseOffset, each.Topic)));
        Assert.True(machine.TryGetTopic("a", out var topic));
        Assert.Equal((1, 3L), (topic.Number, topic.NextOffset));
    }

    [Fact]
    public void An_entry_may_hold_more_publishes_than_are_looked_for()
    {
        const int Topics = 700;
        var machine = new TopicStateMachine(new NoSink(), new TopicBounds());
        var entries = new Entries();
        for (var round = 0; round < 3; round++)
        {
            var results = new CommandResult[Topics];
            machine.Apply(
                entries.Of([.. Enumerable.Range(0, Topics)
                    .Select(static i => Entries.PublishCommand($"a.{i}", Entries.Batch(1)))]),
                results);
            Assert.All(results, each => Assert.Equal(round, each.BaseOffset));
        }
    }

    private static string TextOf(CommandResult result) =>
        $"{result with { Parts = null }} {string.Join(' ', result.Parts ?? [])}";

    private static List<byte[]> CommandsOf(LogEntry entry)
    {
        var commands = new List<byte[]>();
        foreach (var command in new CommandSequence(entry.Body))
        {
            var begin = command.PayloadPosition - CommandSequence.HeaderBytes;
            commands.Add(entry.Body
                .Slice(begin, CommandSequence.HeaderBytes + command.Payload.Length)
                .ToArray());
        }

        return commands;
    }

    private static IEnumerable<(string Name, int Number, long First, long Next)> PlacesOf(TopicStateMachine machine) =>
        machine.Module<TopicModule>().ListPlaces()
            .Select(static each => (each.Name, each.Number, each.FirstOffset, each.NextOffset));
}
