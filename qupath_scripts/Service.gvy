/*
 * Talk to `wsi-suite serve`, which holds the model. A library of the scripts in this folder; it
 * knows nothing of QuPath.
 *
 * The service leaves a file of the user's (address, token, process, version). It is believed only
 * when that process lives and answers. Where none answers it is started; it ends by itself after
 * an idle hour. Every failure is an IllegalStateException whose message is for the user.
 */

import com.google.gson.Gson
import com.google.gson.GsonBuilder
import com.google.gson.JsonParseException
import groovy.transform.CompileStatic

import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpResponse
import java.time.Duration
import java.util.concurrent.CancellationException
import java.util.concurrent.TimeUnit

@CompileStatic
class Service {

    /** Services that these scripts understand: those whose version begins so. */
    static final String VERSION = "0.1."

    /** Minutes without a request after which a service that was started here ends. */
    static final int IDLE_MINUTES = 60

    /** Seconds that a service may take until it answers; loading its libraries takes some. */
    static final int START_SECONDS = 180

    private static final Gson JSON = new GsonBuilder().serializeNulls().create()

    private final HttpClient client = HttpClient.newBuilder()
        .version(HttpClient.Version.HTTP_1_1)
        .connectTimeout(Duration.ofSeconds(5))
        .proxy(HttpClient.Builder.NO_PROXY)
        .build()
    private final String address
    private final String token

    private Service(String address, String token) {
        this.address = address
        this.token = token
    }

    // ---- Finding and starting ------------------------------------------------------------------

    /** Return the file in which a service says where it is. */
    static File discoveryFile() {
        def named = System.getenv("WSI_SUITE_SERVICE_FILE")
        named ? new File(named) : new File(System.getProperty("user.home"), ".wsi-suite/service.json")
    }

    /** Return the service that runs, or null; one of another version is refused. */
    static Service find(File file = discoveryFile()) {
        def told = readDiscovery(file)
        if (told == null || !ProcessHandle.of(told.pid as long).isPresent())
            return null
        def service = new Service(addressOf(told.host as String, told.port as int), told.token as String)
        Map health
        try {
            health = service.send("GET", "/v1/health", null)
        } catch (IllegalStateException ignored) {
            return null  // a process that took over the number of a service that is gone
        }
        if (!(health.pid instanceof Number) || (health.pid as long) != (told.pid as long))
            return null
        if (!"${health.version}".startsWith(VERSION))
            throw new IllegalStateException("The wsi-suite service that runs (process ${told.pid}) " +
                "is of version ${health.version}, these scripts are for ${VERSION}x: end it, and " +
                "type 'wsi-suite qupath install-scripts' so that both are of one version.")
        service
    }

    /** Return what a discovery file tells, or null where it is absent or not whole. */
    static Map readDiscovery(File file) {
        try {
            def told = parse(file.getText("UTF-8"))
            def whole = told.pid instanceof Number && told.port instanceof Number &&
                told.host instanceof String && told.token instanceof String
            return whole ? told : null
        } catch (IOException | IllegalStateException ignored) {
            return null
        }
    }

    /** Return where to connect; a service that listens everywhere listens here, too. */
    static String addressOf(String host, int port) {
        def here = host in ["0.0.0.0", "::", ""] ? "127.0.0.1" : host
        "http://" + (here.contains(":") ? "[${here}]" : here) + ":" + port
    }

    /**
     * Start a service and return it once it answers.
     *
     * @param program the program and its first arguments, as in [python, -m, wsi_suite]
     * @param folders slides in these may be read
     * @param cancelled asked now and then; true gives up
     */
    static Service start(List<String> program, Collection<String> folders, Closure<Boolean> cancelled) {
        def log = new File(discoveryFile().getAbsoluteFile().getParentFile(), "service.log")
        log.getParentFile().mkdirs()
        def arguments = startArguments(program, folders)
        Process process
        try {
            process = new ProcessBuilder(arguments).redirectErrorStream(true)
                .redirectOutput(log).redirectInput(ProcessBuilder.Redirect.PIPE).start()
            process.getOutputStream().close()
        } catch (IOException problem) {
            throw new IllegalStateException("${program[0]} cannot be started " +
                "(${problem.getMessage()}): type 'wsi-suite qupath install-scripts' again.", problem)
        }
        def end = System.nanoTime() + TimeUnit.SECONDS.toNanos(START_SECONDS)
        while (System.nanoTime() < end) {
            if (cancelled.call()) {
                process.destroy()
                throw new CancellationException()
            }
            def service = find()
            if (service != null)
                return service
            if (process.waitFor(200, TimeUnit.MILLISECONDS) && find() == null)
                throw new IllegalStateException("The wsi-suite service ended at once: ${lastLine(log)}")
        }
        process.destroy()
        throw new IllegalStateException("The wsi-suite service did not answer within " +
            "${START_SECONDS} s: ${lastLine(log)}")
    }

    /** Return what is typed to start a service; never a text for a shell. */
    static List<String> startArguments(List<String> program, Collection<String> folders) {
        def roots = folders.collectMany { ["--allow-root", it] }
        program + ["serve", "--idle-minutes", IDLE_MINUTES.toString()] + roots
    }

    /**
     * Return the program that starts the service: what `wsi-suite qupath install-scripts` wrote
     * (one argument a line), else `remembered`; null where neither is there any more.
     */
    static List<String> program(File installed, String remembered) {
        def told = installed.isFile() ? installed.readLines("UTF-8").findAll { it.trim() } : []
        if (told && new File(told[0]).isFile())
            return told
        remembered && new File(remembered).isFile() ? [remembered] : null
    }

    private static String lastLine(File log) {
        def lines = log.isFile() ? log.readLines().findAll { it.trim() } : []
        (lines ? lines.last() + " " : "") + "(more in ${log})"
    }

    // ---- Asking --------------------------------------------------------------------------------

    /** Let the service read slides in one more folder. */
    void addFolder(String folder) {
        send("POST", "/v1/roots", [folder: folder])
    }

    /** Ask for a job; null where the service may not read the slide's folder. */
    String submit(Map request) {
        def answer = exchange("POST", "/v1/jobs", request)
        if (answer.statusCode() == 403)
            return null
        def job = checked(answer, "/v1/jobs")
        if (!(job.id instanceof String) || !(job.id ==~ /[\w-]+/))
            throw new IllegalStateException("The wsi-suite service answered a job without an id.")
        job.id as String
    }

    /**
     * Wait for a job and return it once it is done.
     *
     * @param report called with progress (0 to 1) and a message; false cancels the job
     */
    Map await(String id, Closure<Boolean> report) {
        long pause_ms = 50
        while (true) {
            def job = send("GET", "/v1/jobs/" + id, null)
            switch (job.state) {
                case "done":
                    return job
                case "failed":
                    throw new IllegalStateException(text(job.error) ?:
                        "The job failed; the service does not say why.")
                case "cancelled":
                    throw new CancellationException()
            }
            if (!report.call(fraction(job.progress), text(job.message) ?: text(job.state))) {
                forget(id)
                throw new CancellationException()
            }
            Thread.sleep(pause_ms)
            pause_ms = Math.min(500L, pause_ms * 2)
        }
    }

    /** Cancel a job, or throw away a finished one; what fails is of no consequence. */
    void forget(String id) {
        try {
            send("DELETE", "/v1/jobs/" + id, null)
        } catch (IllegalStateException ignored) {
            // The service forgets it by itself.
        }
    }

    /** Return the nuclei of a job as a stream of GeoJSON texts, to be closed by the caller. */
    InputStream nuclei(String id) {
        def path = "/v1/jobs/${id}/nuclei"
        def answer = ask(request("GET", path, null), HttpResponse.BodyHandlers.ofInputStream())
        if (answer.statusCode() != 200) {
            def body = answer.body().withCloseable { new String(it.readNBytes(1 << 16), "UTF-8") }
            throw new IllegalStateException(refusal(answer.statusCode(), body, path))
        }
        answer.body()
    }

    // ---- Requests and answers ------------------------------------------------------------------

    /** Return an object's members, or refuse what is not a JSON object. */
    static Map parse(String text) {
        try {
            def parsed = JSON.fromJson(text, Object)
            if (parsed instanceof Map)
                return parsed as Map
        } catch (JsonParseException ignored) {
            // Said below.
        }
        def shown = text == null || text.isBlank() ? "nothing" : text.take(80).replaceAll(/\s+/, " ")
        throw new IllegalStateException("Expected a JSON object from the wsi-suite service, found: ${shown}")
    }

    /** Return in one line why the service refused a request. */
    static String refusal(int status, String body, String path) {
        if (status == 401)
            return "The wsi-suite service does not accept the token in ${discoveryFile()}: end " +
                "the service, and run this script again."
        String reason
        try {
            reason = text(parse(body).detail)
        } catch (IllegalStateException ignored) {
            reason = ""
        }
        reason ?: "The wsi-suite service answered ${status} to ${path}."
    }

    /** Return progress between 0 and 1, or -1 where it is not known. */
    static double fraction(Object value) {
        def number = value instanceof Number ? (value as Number).doubleValue() : Double.NaN
        Double.isNaN(number) ? -1.0d : Math.max(0.0d, Math.min(1.0d, number))
    }

    /**
     * Return what was found, what was kept and what to heed, in words.
     *
     * @param counts what `Nuclei.place` returned
     * @param scores what to say of the nuclei that are there now, by compartment; empty where none
     *     of them has an intensity
     */
    static String report(Map job, Map<String, Integer> counts, Map<String, String> scores, String where) {
        List<String> lines = [counts.placed == 1 ? "1 nucleus in ${where}.".toString()
            : "${counts.placed} nuclei in ${where}.".toString()]
        scores.each { name, words -> lines << "${name}: ${words}".toString() }
        def summary = job.summary instanceof Map ? job.summary as Map : [:]
        if (scores.isEmpty())
            lines << (text(summary.no_verdict) ? "No score: ${text(summary.no_verdict)}.".toString()
                : counts.placed ? "No score: none of these nuclei could be measured."
                : "No score: there are no nuclei.")
        lines.addAll(text(summary.no_verdict) ? [] : basis(summary))
        def kept = ["changed", "deleted", "added"].findAll { counts[it] }
        if (kept)
            lines << "" << ("Corrections kept: " + kept.collect { "${counts[it]} ${it}" }.join(", ") +
                "; ${counts.suppressed} new nuclei there were left out.").toString()
        def warnings = summary.warnings instanceof List
            ? (summary.warnings as List).collect { plain(text(it)) }.findAll() : []
        lines.addAll(warnings ? [""] + warnings : [])
        lines.join("\n")
    }

    /** Say for which marker and from which thresholds scores are, as far as the user chose them. */
    private static List<String> basis(Map summary) {
        def marker = text(summary.marker) ? "marker " + text(summary.marker) : ""
        def chosen = summary.thresholds_origin in ["user", "calibrated"]
        def thresholds = chosen && summary.thresholds_od instanceof List
            ? "thresholds " + (summary.thresholds_od as List).join(" / ") : ""
        def told = [marker, thresholds].findAll()
        told ? ["Scored with ${told.join(', ')}.".toString()] : []
    }

    /** Leave out what a warning names in parentheses for the command line: (score.marker), (--roi), (--set x=1). */
    private static String plain(String warning) {
        warning.replaceAll(/ \((--[^()]+|[a-z]+(\.[a-z_]+)+(; [^()]+)?)\)/, "")
    }

    private static String text(Object value) {
        value instanceof CharSequence ? value.toString().strip() : ""
    }

    private Map send(String method, String path, Map body) {
        checked(exchange(method, path, body), path)
    }

    private static Map checked(HttpResponse<String> answer, String path) {
        if (answer.statusCode() >= 300)
            throw new IllegalStateException(refusal(answer.statusCode(), answer.body(), path))
        parse(answer.body())
    }

    private HttpResponse<String> exchange(String method, String path, Map body) {
        ask(request(method, path, body), HttpResponse.BodyHandlers.ofString())
    }

    private HttpRequest request(String method, String path, Map body) {
        def content = body == null
            ? HttpRequest.BodyPublishers.noBody()
            : HttpRequest.BodyPublishers.ofString(JSON.toJson(body))
        HttpRequest.newBuilder(URI.create(address + path))
            .header("Authorization", "Bearer " + token)
            .header("Content-Type", "application/json")
            .timeout(Duration.ofSeconds(60))
            .method(method, content)
            .build()
    }

    private <T> HttpResponse<T> ask(HttpRequest request, HttpResponse.BodyHandler<T> handler) {
        try {
            return client.send(request, handler)
        } catch (IOException problem) {
            throw new IllegalStateException("The wsi-suite service at ${address} does not answer " +
                "(${problem.getMessage() ?: problem.getClass().getSimpleName()}): run this script " +
                "again, which starts it again.", problem)
        }
    }
}
