using System.Diagnostics;
using System.Diagnostics.Metrics;
using Xunit;
using Tag = System.Collections.Generic.KeyValuePair<string, object?>;

namespace Broker.Tests.Unit.ServiceDefaults;

public sealed class PrometheusExporterTests : IDisposable
{
    private readonly MetricsFixture _metrics = new();

    private Meter Meter => _metrics.Meter;

    public void Dispose() => _metrics.Dispose();

    [Fact]
    public void A_counter_is_written_with_help_type_and_total()
    {
        var counter = Meter.CreateCounter<long>("orders.placed", "{order}", "Orders\nwith a \\ in its help");
        counter.Add(2, new Tag("shop", "north"));
        counter.Add(3, new Tag("shop", "north"));
        counter.Add(1);

        Assert.Equal(
            "# HELP orders_placed_total Orders\\nwith a \\\\ in its help\n"
            + "# TYPE orders_placed_total counter\n"
            + "orders_placed_total 1\n"
            + "orders_placed_total{shop=\"north\"} 5\n",
            _metrics.Scrape());
    }

    [Fact]
    public void Bytes_beyond_the_precision_of_a_double_stay_exact()
    {
        Meter.CreateCounter<long>("big").Add((1L << 53) + 1);

        Assert.Contains("big_total 9007199254740993\n", _metrics.Scrape(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_fraction_and_whole_numbers_add_up()
    {
        var counter = Meter.CreateCounter<double>("spent", "s");
        counter.Add(0.25);
        counter.Add(1.5);

        Assert.Contains("spent_seconds_total 1.75\n", _metrics.Scrape(), StringComparison.Ordinal);
    }

    [Fact]
    public void An_up_down_counter_is_a_gauge_that_may_sink()
    {
        var queue = Meter.CreateUpDownCounter<int>("queue.length");
        queue.Add(5);
        queue.Add(-7);

        Assert.Contains("# TYPE queue_length gauge\nqueue_length -2\n", _metrics.Scrape(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_gauge_keeps_its_last_value()
    {
        var gauge = Meter.CreateGauge<double>("temperature", "Cel");
        gauge.Record(20);
        gauge.Record(double.PositiveInfinity);

        Assert.Contains("temperature_celsius +Inf\n", _metrics.Scrape(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_histogram_counts_cumulatively_in_its_advised_buckets_bounds_included()
    {
        var histogram = Meter.CreateHistogram(
            "wait", "s", "Wait", advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = [0.5, 1] });
        foreach (var value in new[] { 0.25, 0.5, 1, 8, double.NaN })
        {
            histogram.Record(value, new Tag("le", "x"));
        }

        Assert.Equal(
            "# HELP wait_seconds Wait\n"
            + "# TYPE wait_seconds histogram\n"
            + "wait_seconds_bucket{le_tag=\"x\",le=\"0.5\"} 2\n"
            + "wait_seconds_bucket{le_tag=\"x\",le=\"1\"} 3\n"
            + "wait_seconds_bucket{le_tag=\"x\",le=\"+Inf\"} 4\n"
            + "wait_seconds_sum{le_tag=\"x\"} 9.75\n"
            + "wait_seconds_count{le_tag=\"x\"} 4\n",
            _metrics.Scrape());
    }

    [Theory]
    [InlineData("s", "_bucket{le=\"0.005\"} 0\n")]
    [InlineData(null, "_bucket{le=\"10000\"} 1\n")]
    public void A_histogram_without_advice_has_the_default_buckets(string? unit, string expected)
    {
        Meter.CreateHistogram<int>("plain", unit).Record(7);

        Assert.Contains(expected, _metrics.Scrape(), StringComparison.Ordinal);
    }

    [Fact]
    public void Label_values_are_escaped_and_typed()
    {
        Meter.CreateCounter<long>("c").Add(
            1, new Tag("text", "a\"b\\c\nd"), new Tag("http.route", null), new Tag("number", 1.5),
            new Tag("flag", true));

        Assert.Contains(
            "c_total{flag=\"true\",http_route=\"\",number=\"1.5\",text=\"a\\\"b\\\\c\\nd\"} 1\n",
            _metrics.Scrape(),
            StringComparison.Ordinal);
    }

    [Fact]
    public void Keys_that_become_one_label_share_it()
    {
        Meter.CreateCounter<long>("c").Add(1, new Tag("a_b", "2"), new Tag("a.b", "1"));

        Assert.Contains("c_total{a_b=\"1;2\"} 1\n", _metrics.Scrape(), StringComparison.Ordinal);
    }

    [Fact]
    public void The_order_of_tags_makes_no_second_series()
    {
        var counter = Meter.CreateCounter<long>("c");
        counter.Add(1, new Tag("x", 1), new Tag("y", "2"));
        counter.Add(1, new Tag("y", "2"), new Tag("x", "1"));

        Assert.Contains("c_total{x=\"1\",y=\"2\"} 2\n", _metrics.Scrape(), StringComparison.Ordinal);
    }

    [Fact]
    public void Series_beyond_the_limit_are_counted_together_and_told()
    {
        using var metrics = new MetricsFixture(maxSeries: 2);
        var counter = metrics.Meter.CreateCounter<long>("c");
        for (var i = 0; i < 10; i++)
        {
            counter.Add(1, new Tag("user", i));
        }

        var text = metrics.Scrape();
        Assert.Contains("c_total{user=\"1\"} 1\n", text, StringComparison.Ordinal);
        Assert.Contains("c_total{otel_metric_overflow=\"true\"} 8\n", text, StringComparison.Ordinal);
        Assert.Contains(
            "broker_exporter_overflowed_measurements_total{metric=\"c_total\"} 8\n", text, StringComparison.Ordinal);
        Assert.DoesNotContain("user=\"2\"", text, StringComparison.Ordinal);
    }

    [Fact]
    public void Observable_instruments_are_read_at_the_scrape_and_what_is_gone_is_forgotten()
    {
        var groups = new List<Measurement<long>> { new(1, new Tag("group", 0)), new(2, new Tag("group", 1)) };
        Meter.CreateObservableGauge("term", () => groups.ToArray());
        Meter.CreateObservableCounter("seen", () => 7L);

        Assert.Contains("seen_total 7\n# HELP term term\n# TYPE term gauge\nterm{group=\"0\"} 1\nterm{group=\"1\"} 2\n",
            _metrics.Scrape(), StringComparison.Ordinal);
        groups.RemoveAt(1);
        Assert.EndsWith("# TYPE term gauge\nterm{group=\"0\"} 1\n", _metrics.Scrape(), StringComparison.Ordinal);
    }

    [Fact]
    public void One_failing_observable_leaves_the_others_in_the_scrape()
    {
        Meter.CreateObservableGauge("broken", int () => throw new InvalidOperationException("not now"));
        Meter.CreateObservableGauge("sound", () => 1);

        Assert.Equal("# HELP sound sound\n# TYPE sound gauge\nsound 1\n", _metrics.Scrape());
    }

    [Fact]
    public void Two_kinds_under_one_name_give_the_first_alone()
    {
        Meter.CreateUpDownCounter<int>("same").Add(1);
        Meter.CreateHistogram<int>("same").Record(1);

        Assert.Equal("# HELP same same\n# TYPE same gauge\nsame 1\n", _metrics.Scrape());
    }

    [Fact]
    public void A_disposed_meter_leaves_the_scrape()
    {
        Meter.CreateCounter<int>("gone").Add(1);
        Meter.Dispose();

        Assert.Equal("", _metrics.Scrape());
    }

    [Fact]
    public void Measurements_of_many_threads_all_count()
    {
        const int Threads = 4;
        const int Each = 20_000;
        var counter = Meter.CreateCounter<long>("c");
        var histogram = Meter.CreateHistogram<double>("h", "s");
        var threads = Enumerable.Range(0, Threads).Select(_ => new Thread(() =>
        {
            for (var i = 0; i < Each; i++)
            {
                counter.Add(1, new Tag("k", i % 50));
                histogram.Record(0.5);
            }
        })).ToList();
        threads.ForEach(thread => thread.Start());
        var early = _metrics.Scrape();
        threads.ForEach(thread => thread.Join());

        Assert.NotNull(early);
        var text = _metrics.Scrape();
        var sum = text.Split('\n').Where(line => line.StartsWith("c_total{", StringComparison.Ordinal))
            .Sum(line => long.Parse(line.Split(' ')[1], System.Globalization.CultureInfo.InvariantCulture));
        Assert.Equal(Threads * Each, sum);
        Assert.Contains($"h_seconds_count {Threads * Each}\n", text, StringComparison.Ordinal);
        Assert.Contains($"h_seconds_sum {Threads * Each / 2}\n", text, StringComparison.Ordinal);
    }

    [Fact]
    public void A_measurement_of_a_known_series_allocates_nothing()
    {
        var counter = Meter.CreateCounter<long>("c");
        object boxed = 7;
        counter.Add(1, new Tag("k", boxed));
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1_000; i++)
        {
            counter.Add(1, new Tag("k", boxed));
        }

        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    [Fact]
    public void Promtool_accepts_the_text()
    {
        var promtool = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':')
            .Select(folder => Path.Combine(folder, "promtool")).FirstOrDefault(File.Exists);
        Assert.SkipWhen(promtool is null, "promtool (Debian package prometheus) is not installed");
        Meter.CreateCounter<long>("orders.placed", "{order}", "Orders").Add(2, new Tag("shop", "a\"b\\c\nd"));
        Meter.CreateHistogram<double>("wait", "s", "Wait").Record(0.1, new Tag("shop", "x"));
        Meter.CreateObservableGauge("threads.count", () => 3, "{thread}", "Threads");
        Meter.CreateGauge<double>("odd", null, "Odd").Record(double.NaN);

        var (exitCode, output) = Check(promtool!, _metrics.Scrape());
        Assert.True(exitCode == 0, output);
    }

    internal static (int ExitCode, string Output) Check(string promtool, string text)
    {
        using var process = Process.Start(new ProcessStartInfo(promtool, ["check", "metrics"])
        {
            RedirectStandardInput = true,
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        })!;
        process.StandardInput.Write(text);
        process.StandardInput.Close();
        var output = process.StandardError.ReadToEnd() + process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output + text);
    }
}
