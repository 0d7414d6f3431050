using System.Globalization;
using System.Text;
using Broker.Client;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>What the metrics of real processes say of consumer groups.</summary>
public sealed class ConsumerGroupMetricsTests
{
    private const string Elections = "broker_consensus_elections_total";

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Fact]
    public async Task All_nodes_together_give_the_figures_of_a_group_also_of_one_that_nobody_consumes()
    {
        await using var brokers = new KilledBrokers();
        for (var node = 1; node <= KilledBrokers.Count; node++)
        {
            brokers.Start(node, ("Broker__DataShards", "3"));
        }

        await brokers.BecomesHealthyAsync(1, 2, 3);
        await using var client = brokers.Connect(1, 2, 3);

        // A new leader knows nothing of leases, and counts from its own beginning: one run without any is enough.
        var run = 0;
        List<string> wrong;
        do
        {
            Assert.InRange(++run, 1, 10);
            wrong = await FindWrongAsync(brokers, client, $"work{run}", $"idle{run}", $"t{run}");
        }
        while (wrong.Contains(Elections));
        Assert.Empty(wrong);

        // Who leads then says what there is.
        await brokers.KillAsync(1);
        var idle = $"idle{run}";
        await Eventually.HoldsAsync(
            async () => await SumAsync(brokers, "broker_groups_lag", idle, 2, 3) == 60, () => "the others lead", 60);
        await client.DeleteGroupAsync(idle, Test);
        await Eventually.HoldsAsync(
            async () => await SumAsync(brokers, "broker_groups_lag", idle, 2, 3) is null, () => "it is gone", 60);
    }

    /// <summary>What the metrics do not say within a minute; that of elections, when there were some.</summary>
    private static async Task<List<string>> FindWrongAsync(
        KilledBrokers brokers, BrokerClient client, string work, string idle, string topics)
    {
        var elections = await SumAsync(brokers, Elections, "");
        foreach (var group in new[] { work, idle })
        {
            await client.CreateGroupAsync(
                group,
                new GroupSettings { Filters = [$"{topics}.*"], AckWait = TimeSpan.FromHours(1), MaxDeliveries = 2 },
                cancellationToken: Test);
        }

        for (var i = 0; i < 60; i++)
        {
            var message = new BrokerMessage { Value = Encoding.UTF8.GetBytes($"{i}") };
            await client.PublishAsync($"{topics}.{i % 6}", message, Test);
        }

        // Of each topic one stays out, one comes again later, one dies, two come again at once, and seven are acked.
        await using (var consumer = await client.ConsumeAsync(work, cancellationToken: Test))
        {
            var left = 60 + 12;
            await foreach (var record in consumer.WithCancellation(Test))
            {
                _ = record.Record.Offset switch
                {
                    0 => true,
                    1 => await record.NackAsync(TimeSpan.FromHours(1), Test),
                    2 => await record.TerminateAsync("no", Test),
                    3 or 4 when record.Attempt == 1 => await record.NackAsync(TimeSpan.Zero, Test),
                    _ => await record.AckAsync(Test),
                };
                if (--left == 0)
                {
                    break;
                }
            }
        }

        (string Name, string Group, double Least, double Most)[] expected =
        [
            ("broker_groups_delivered_records_total", work, 72, 72),
            ("broker_groups_redelivered_records_total", work, 12, 12),
            ("broker_groups_acked_records_total", work, 42, 42),
            ("broker_groups_nacked_records_total", work, 18, 18),
            ("broker_groups_dead_lettered_records_total", work, 6, 6),
            ("broker_groups_lapsed_records_total", work, 0, 0),
            ("broker_groups_expired_records_total", work, 0, 0),
            ("broker_groups_lag", work, 12, 12),
            ("broker_groups_outstanding", work, 6, 6),
            ("broker_groups_delayed", work, 6, 6),
            ("broker_groups_oldest_age_seconds", work, 0.001, 3_600),
            ("broker_groups_delivered_records_total", idle, 0, 0),
            ("broker_groups_lag", idle, 60, 60),
            ("broker_groups_outstanding", idle, 0, 0),
            ("broker_groups_oldest_age_seconds", idle, 0.001, 3_600),
        ];
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(Test);
        patience.CancelAfter(TimeSpan.FromMinutes(1));
        while (true)
        {
            var wrong = new List<string>();
            foreach (var (name, group, least, most) in expected)
            {
                var sum = await SumAsync(brokers, name, group);
                if (sum is null || sum < least || sum > most)
                {
                    wrong.Add($"{name} of {group} is {sum}, not {least} to {most}");
                }
            }

            if (elections != await SumAsync(brokers, Elections, ""))
            {
                return [Elections];
            }

            if (wrong.Count == 0 || patience.IsCancellationRequested)
            {
                return wrong;
            }
        }
    }

    /// <summary>Over nodes, all by default, and of one group, or without; null: nobody says anything.</summary>
    private static async Task<double?> SumAsync(KilledBrokers brokers, string name, string group, params int[] nodes)
    {
        double? sum = null;
        foreach (var node in nodes is [] ? [1, 2, 3] : nodes)
        {
            var lines = (await brokers.MetricsAsync(node)).Split('\n').Where(line =>
                line.StartsWith($"{name}{{", StringComparison.Ordinal)
                && (group.Length == 0 || line.Contains($"group=\"{group}\"", StringComparison.Ordinal)));
            foreach (var line in lines)
            {
                var value = line[(line.IndexOf('}', StringComparison.Ordinal) + 2)..].Split(' ')[0];
                sum = (sum ?? 0) + double.Parse(value, CultureInfo.InvariantCulture);
            }
        }

        return sum;
    }
}
