-- The temperatures of each sensor in an hour, in degrees Celsius (which devices in the field also write Celcius).
-- Text values ("n/a", "error") are counted apart; a sensor that sent nothing else has no mean.
SELECT
    getvariable('window_start') AS start_time,
    getvariable('window_end') AS end_time,
    readings.sensor_id,
    sensors.name AS sensor_name,
    sensors.location AS sensor_location,
    readings.avg_temp,
    readings.min_temp,
    readings.max_temp,
    readings.samples,
    readings.text_samples
FROM (
    SELECT
        sensor_id,
        avg(celsius) AS avg_temp,
        min(celsius) AS min_temp,
        max(celsius) AS max_temp,
        count(celsius) AS samples,
        count(measurement_text) AS text_samples
    FROM (
        SELECT
            sensor_id,
            measurement_text,
            CASE
                WHEN measurement_unit IN ('Celsius', 'Celcius') THEN measurement_value
                WHEN measurement_unit = 'Fahrenheit' THEN (measurement_value - 32) * 5 / 9
            END AS celsius
        FROM telemetry
        WHERE measurement_kind = 'Temperature'
    )
    GROUP BY sensor_id
) AS readings
LEFT JOIN sensors ON sensors.sensor_id = readings.sensor_id
ORDER BY readings.sensor_id
